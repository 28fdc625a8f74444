/* An assertion fails on a count that a wrong decrement made negative; the last refused call, long before, has nothing to do with it. */
#include "prelude.h"
static struct { long users; u64 limit; } module = { 0, 8 };
static void (*hook)(void);

static FN void try_old_interface(void)
{
    u64 frame = 0x7fffff;
    if (hypercall(SET_GDT, (u64)&frame, 512, 0, 0)) say("old interface refused\n");
    if (hypercall(56, 0, 0, 0, 0)) say("older interface refused\n");
}
static FN void get(void) { module.users++; }
static FN void put(long n) { module.users -= n; }
static FN void close_all(long opened) { put(opened + 1); }
static FN void check_users(void)
{
    if (module.users < 0) {
        say("bad count\n");
        __asm__ volatile("ud2");
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "assert");
    for (int i = 0; i < 3; i++) get();
    try_old_interface();
    work(500);
    check_users();
    close_all(3);
    work(900);
    check_users();
    leave(POWEROFF);
}
