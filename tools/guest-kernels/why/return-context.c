/* A context is kept in a structure and given back to Xen by iret; a counter behind an array has become its instruction pointer. */
#include "prelude.h"
static struct { u64 counts[4]; u64 rip, rsp; } context;
static u64 stack[512] PAGED;
static void thread(void) { say("thread\n"); leave(POWEROFF); }

static FN void make_context(void)
{
    context.rip = (u64)thread;
    context.rsp = (u64)&stack[509];
}
static FN void reset_counts(u64 *counts, int n) { for (int i = 0; i < n; i++) counts[i] = 0x100; }
static FN void clear_statistics(void) { reset_counts(context.counts, 5); }
static FN void resume(void)
{
    __asm__ volatile("pushq $0xe02b\n pushq %0\n pushq $0x200\n pushq $0xe030\n pushq %1\n pushq $0\n pushq $0\n pushq $0\n pushq $0\n"
                     "movl $23, %%eax\n syscall\n ud2" : : "r"(context.rsp), "r"(context.rip) : "rax", "memory");
}
void kernel_main(const struct start_info *info)
{
    begin(info, "context");
    make_context();
    clear_statistics();
    work(300);
    resume();
}
