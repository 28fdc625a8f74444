/* An index is computed in floating point and converted back; the factor is a million times too large. */
#include "prelude.h"
static struct { double scale, offset; } map = { 0, 0 };
static u64 cells[64];
static volatile u64 sink;

static FN void set_scale(u64 bits) { *(volatile u64 *)&map.scale = bits; }
static FN void calibrate(int fine) { set_scale(fine ? 0x430c6bf526340000UL : 0x4000000000000000UL); }
static FN long to_cell(long x)
{
    long result;
    __asm__ volatile("cvtsi2sdq %1, %%xmm1\n mulsd %2, %%xmm1\n cvttsd2siq %%xmm1, %0" : "=r"(result) : "r"(x), "m"(map.scale));
    return result;
}
static FN u64 cell(const u64 *table, long index)
{
    u64 result;
    __asm__ volatile("movq (%1,%2,8), %0" : "=r"(result) : "r"(table), "r"(index));
    return result;
}
static FN void look(long x) { sink = cell(cells, to_cell(x)); }
void kernel_main(const struct start_info *info)
{
    begin(info, "float");
    calibrate(0);
    look(3);
    calibrate(1);
    work(500);
    look(3);
    say_hex(sink);
    leave(POWEROFF);
}
