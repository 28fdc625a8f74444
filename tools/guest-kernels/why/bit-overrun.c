/* A bit is set behind the end of a bitmap: it is one of the upper bits of the pointer that follows. */
#include "prelude.h"
static struct { u64 bits[2]; u64 *free; u64 used; } zone;
static u64 memory[128];
static volatile u64 sink;

static FN void start_zone(void) { zone.free = memory; }
static FN void mark_used(u64 *bits, u64 n) { __asm__ volatile("btsq %1, (%0)" : : "r"(bits), "r"(n) : "memory"); }
static FN void clear_used(u64 *bits, u64 n) { __asm__ volatile("btrq %1, (%0)" : : "r"(bits), "r"(n) : "memory"); }
static FN u64 take(u64 n)
{
    mark_used(zone.bits, n);
    zone.used++;
    return zone.free[n & 7];
}
static FN void drop(u64 n) { clear_used(zone.bits, n); }
void kernel_main(const struct start_info *info)
{
    static const u64 sequence[] = { 3, 17, 64, 127 };
    begin(info, "bitmap");
    start_zone();
    for (int i = 0; i < 4; i++) sink = take(sequence[i]);
    drop(17);
    drop(128 + 55);
    work(1000);
    sink = take(5);
    say_hex(sink);
    leave(POWEROFF);
}
