/* A token that is no pointer goes round a ring of stations, from one to the next, before one of them follows it. */
#include "prelude.h"
static u64 stations[8];
static u64 received;

static FN void pass(int from, int to)
{
    stations[to] = stations[from];
    stations[from] = 0;
}
static FN void inject(void) { stations[0] = 0x00f0f0f0f0f0f000UL; }
static FN void circulate(int hops)
{
    for (int i = 0; i < hops; i++) pass(i & 7, (i + 1) & 7);
}
static FN u64 follow(int station) { return *(u64 *)stations[station]; }
void kernel_main(const struct start_info *info)
{
    begin(info, "token");
    inject();
    circulate(12);
    work(100);
    received = follow(4);
    say_hex(received);
    leave(POWEROFF);
}
