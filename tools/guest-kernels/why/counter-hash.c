/* A bucket is chosen by the time-stamp counter, with a bit set that no bucket has, and without the remainder. */
#include "prelude.h"
static u64 buckets[16];
static struct { u64 seed, uses; } generator;
static volatile u64 sink;

static FN u64 counter(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low;
}
static FN void seed(void) { generator.seed = counter() << 20; }
static FN u64 bucket(const u64 *table, u64 index)
{
    u64 result;
    __asm__ volatile("movq (%1,%2,8), %0" : "=r"(result) : "r"(table), "r"(index));
    return result;
}
static FN void draw(void)
{
    generator.uses++;
    sink = bucket(buckets, generator.seed | 1UL << 59);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "hash");
    work(100);
    seed();
    work(700);
    draw();
    say_hex(sink);
    leave(POWEROFF);
}
