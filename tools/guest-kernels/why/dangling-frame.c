/* A function hands out the address of its local operations; the next calls use that part of the stack for their own numbers. */
#include "prelude.h"
struct ops { u64 id; void (*run)(u64); };
static struct ops *volatile current;
static u64 total;

static FN void add(u64 n) { total += n; }
static FN void choose(u64 id)
{
    struct ops local[4];
    for (int i = 0; i < 4; i++) { local[i].id = id; local[i].run = add; }
    struct ops *volatile *at = &current;
    *at = local + 2;
}
static FN u64 average(const u64 *values, int n)
{
    volatile u64 scaled[8];
    u64 s = 0;
    for (int i = 0; i < 8; i++) scaled[i] = values[i % n] << 32;
    for (int i = 0; i < 8; i++) s += scaled[i];
    return s / 8;
}
static FN void run_current(u64 n) { current->run(n); }
void kernel_main(const struct start_info *info)
{
    static const u64 values[] = { 0x30000003, 0x50000005, 0x70000007 };
    begin(info, "dangling");
    choose(1);
    say_hex(average(values, 3));
    choose(2);
    total = average(values, 3);
    run_current(3);
    say_hex(total);
    leave(POWEROFF);
}
