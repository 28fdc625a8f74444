/* The area for the floating-point state is placed below the top of a thread's stack, which is no multiple of 16. */
#include "prelude.h"
static u8 stacks[3][2048] __attribute__((aligned(64)));
static struct thread { u64 top; u8 *fpu; } threads[3];

static FN u64 top_of(int i) { return (u64)stacks[i] + sizeof(stacks[0]) - (i == 2 ? 8 : 16); }
static FN void make_thread(int i)
{
    threads[i].top = top_of(i);
    threads[i].fpu = (u8 *)(threads[i].top - 512);
}
static FN void save_state(u8 *area) { __asm__ volatile("fxsave (%0)" : : "r"(area) : "memory"); }
static FN void switch_from(struct thread *t)
{
    work(200);
    save_state(t->fpu);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "fxsave");
    for (int i = 0; i < 3; i++) make_thread(i);
    for (int i = 0; i < 3; i++) switch_from(&threads[i]);
    say("saved\n");
    leave(POWEROFF);
}
