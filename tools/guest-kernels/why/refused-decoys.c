/* Xen refuses calls before and after the fault, and nobody minds: what kills is a divisor that a configuration has cleared. */
#include "prelude.h"
static struct { u64 rate, period; } config;
static volatile u64 sink;

static FN void try_features(void)
{
    u64 frame = 0x7fffff;
    map_page((void *)boot_info->mfn_list, frame, 0x67);
    hypercall(SET_GDT, (u64)&frame, 512, 0, 0);
    hypercall(EVTCHN, 77, 0, 0, 0);
    hypercall(55, 0, 0, 0, 0);
}
static FN void configure(u64 rate, u64 period)
{
    config.rate = rate;
    config.period = period;
}
static FN void load_config(int profile)
{
    if (profile == 0) configure(100, 10);
    else configure(200, 0);
}
static FN u64 slots_per_period(u64 total) { return total / config.period; }
FN void on_trap(struct regs *r, u64 vector)
{
    say("trap, vector ");
    say_hex(vector);
    try_features();
    leave(CRASH);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "refusals");
    set_traps();
    try_features();
    load_config(0);
    sink = slots_per_period(5000);
    load_config(1);
    try_features();
    sink = slots_per_period(5000);
    leave(POWEROFF);
}
