/* Xen is told of a stack for events from user mode that no page lies under; the first system call cannot be delivered. */
#include "prelude.h"
static u64 kernel_stack[512] PAGED;
static u64 user_stack[512] PAGED;
static struct cpu { u64 id, top, syscalls; } cpu = { 0, (u64)&kernel_stack[512], 0 };
extern char syscall_entry[], user_code[];
__asm__(".text\nsyscall_entry: movl $29, %eax\n movl $2, %edi\n leaq poweroff_reason(%rip), %rsi\n syscall\n ud2\npoweroff_reason: .long 0\nuser_code: movl $1, %eax\n syscall\n ud2\n");

static FN u64 place_stack(u64 *stack, u64 n) { return (u64)stack + n * sizeof(stack) * PAGE; }
static FN void start_cpu(struct cpu *c)
{
    c->id = 0;
    c->top = place_stack(kernel_stack, 512);
}
static FN void tell_xen(const struct cpu *c)
{
    if (hypercall(STACK_SWITCH, 0xe02b, c->top, 0, 0)) leave(CRASH);
    if (hypercall(SET_CALLBACKS, (u64)syscall_entry, (u64)syscall_entry, (u64)syscall_entry, 0)) leave(CRASH);
}
static FN void user_tables(void)
{
    struct mmuext_op op = { 15, mfn_of((void *)boot_info->pt_base), 0 };
    if (hypercall(MMUEXT, (u64)&op, 1, 0, SELF)) leave(CRASH);
}
static FN void enter_user(void)
{
    __asm__ volatile("pushq $0xe02b\n pushq %0\n pushq $0x200\n pushq $0xe033\n pushq %1\n pushq $0\n pushq $0\n pushq $0\n pushq $0\n"
                     "movl $23, %%eax\n syscall\n ud2" : : "r"(&user_stack[500]), "r"(user_code) : "rax", "memory");
}
void kernel_main(const struct start_info *info)
{
    begin(info, "callback-stack");
    start_cpu(&cpu);
    tell_xen(&cpu);
    user_tables();
    work(500);
    enter_user();
}
