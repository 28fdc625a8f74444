/* The answer of a call that this Xen does not have is kept as a count of entries, and used as an index much later. */
#include "prelude.h"
static struct { u64 entries, first; u64 table[32]; } state;
static volatile u64 sink;

static FN u64 ask_size(void) { return hypercall(60, 0, 0, 0, 0); }
static FN void discover(void)
{
    state.first = 2;
    state.entries = ask_size();
    for (int i = 0; i < 32; i++) state.table[i] = i * 3;
}
static FN u64 last_entry(const u64 *table, u64 count)
{
    u64 result;
    __asm__ volatile("movq -8(%1,%2,8), %0" : "=r"(result) : "r"(table), "r"(count));
    return result;
}
static FN u64 scaled(u64 count) { return count << 40; }
void kernel_main(const struct start_info *info)
{
    begin(info, "unchecked");
    discover();
    work(4000);
    sink = last_entry(state.table, state.first);
    sink = last_entry(state.table, scaled(state.entries));
    say_hex(sink);
    leave(POWEROFF);
}
