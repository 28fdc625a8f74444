/* A lookup answers an error in the place of a pointer; it is kept without a look and followed at the next tick. */
#include "prelude.h"
struct clock { u64 rate, (*read)(void); };
static struct clock clocks[2];
static struct clock *chosen;
static volatile u64 sink;
static u64 read_zero(void) { return 0; }

static FN struct clock *find_clock(u64 rate)
{
    for (int i = 0; i < 2; i++)
        if (clocks[i].rate == rate) return &clocks[i];
    return (struct clock *)-19L;
}
static FN void use_clock(u64 rate) { chosen = find_clock(rate); }
static FN void tick(void) { sink = chosen->read(); }
void kernel_main(const struct start_info *info)
{
    begin(info, "error-pointer");
    for (int i = 0; i < 2; i++) { clocks[i].rate = 100 + i; clocks[i].read = read_zero; }
    use_clock(101);
    tick();
    use_clock(250);
    work(400);
    tick();
    leave(POWEROFF);
}
