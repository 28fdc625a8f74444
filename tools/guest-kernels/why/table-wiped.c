/* A page that still is a live page table is cleared by a string instruction, as if it were free; its mappings are gone. */
#include "prelude.h"
static u64 data[512] PAGED;
static u64 spare;
static struct { u64 *pages[4]; int count; } pool;

static FN void give(u64 *page) { pool.pages[pool.count++] = page; }
static FN u64 *take(void) { return pool.pages[--pool.count]; }
static FN u64 *table_of(void *p) { return (u64 *)(boot_info->pt_base + 3 * PAGE) + (((u64)p - BASE) / PAGE & 511); }
static FN void clear_words(u64 *at, u64 n) { __asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(0UL) : "memory"); }
static FN void free_mappings(void)
{
    give(&spare);
    give(table_of(data));
}
static FN void fresh(void) { clear_words(take(), 1); }
static FN u64 sum(void)
{
    u64 s = 0;
    for (int i = 0; i < 512; i++) s += data[i];
    return s;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "table-wiped");
    data[5] = 7;
    say_hex(sum());
    free_mappings();
    fresh();
    work(1000);
    say_hex(sum());
    leave(POWEROFF);
}
