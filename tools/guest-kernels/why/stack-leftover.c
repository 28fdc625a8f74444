/* A local that is set on one path only: on the other it is what the function called before has left on the stack. */
#include "prelude.h"
static u64 good = 9;
static volatile u64 sink;

static FN u64 mix(u64 seed)
{
    volatile u64 scratch[6];
    for (int i = 0; i < 6; i++) scratch[i] = 0x2222000022220000UL;
    return scratch[seed % 6] + seed;
}
static FN u64 find(int found)
{
    u64 *volatile place[6];
    if (found) for (int i = 0; i < 6; i++) place[i] = &good;
    return *place[3];
}
static FN void look_up(int key)
{
    sink = mix(key);
    sink = find(key != 5);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "leftover");
    for (int key = 1; key < 9; key++) look_up(key);
    say_hex(sink);
    leave(POWEROFF);
}
