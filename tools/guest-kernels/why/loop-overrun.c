/* A table is cleared by a loop whose bound counts bytes where elements are meant; it walks out of all that is mapped. */
#include "prelude.h"
static struct { u64 elements; u64 *start; } table;
static u64 storage[64];

static FN u64 size_of(u64 n) { return n * sizeof(u64) * 16384; }
static FN void make_table(void)
{
    table.start = storage;
    table.elements = 64;
}
static FN void grow(void) { table.elements = size_of(table.elements); }
static FN u64 sum_table(void)
{
    u64 s = 0;
    for (u64 i = 0; i < table.elements; i++) s += ((volatile u64 *)table.start)[i];
    return s;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "overrun");
    make_table();
    say_hex(sum_table());
    grow();
    work(300);
    say_hex(sum_table());
    leave(POWEROFF);
}
