/* Registers go into a frame for a signal's handler and come back from it; the handler has changed one that the code goes on to use. */
#include "prelude.h"
static struct regs signal_frame;
static struct { u64 value, more[7]; } record = { 42, { 0 } };
static int depth;

static FN void on_signal(struct regs *saved) { saved->rbx = saved->rbx << 8; }
static FN void deliver(const struct regs *r) { signal_frame = *r; }
static FN void restore(struct regs *r)
{
    *r = signal_frame;
}
FN void on_trap(struct regs *r, u64 vector)
{
    if (vector != 3) {
        say("fatal trap\n");
        leave(CRASH);
    }
    deliver(r);
    if (depth++ == 1) on_signal(&signal_frame);
    work(300);
    restore(r);
}
static FN u64 with_signal(void *p)
{
    u64 result;
    __asm__ volatile("movq %1, %%rbx\n int3\n nop\n movq (%%rbx), %0" : "=r"(result) : "r"(p) : "rbx", "memory");
    return result;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "signal");
    set_traps();
    say_hex(with_signal(&record));
    say_hex(with_signal(&record));
    leave(POWEROFF);
}
