/* The scale of the clock is shifted twice and becomes 0; the first conversion divides by it. */
#include "prelude.h"
static struct { u64 per_tick; u32 shift; u64 base; } clock = { 0, 32, 0 };
static volatile u64 sink;

static FN u64 scale(u64 multiplier, u32 shift) { return multiplier >> shift; }
static FN void start_clock(u64 multiplier)
{
    u64 once = scale(multiplier, clock.shift);
    clock.base = once;
    clock.per_tick = scale(once, clock.shift);
}
static FN u64 to_ticks(u64 nanoseconds) { return nanoseconds / clock.per_tick; }
static FN void print_uptime(void) { say_hex(to_ticks(5000000000UL)); }
void kernel_main(const struct start_info *info)
{
    begin(info, "time-scale");
    start_clock(0x2800000000UL);
    say_hex(clock.base);
    work(2500);
    print_uptime();
    leave(POWEROFF);
}
