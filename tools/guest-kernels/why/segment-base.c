/* The area of a CPU is reached through FS; the base that Xen is given is the area's size instead of its address. */
#include "prelude.h"
static struct area { u64 self, current, depth; } areas[2];
static struct { u64 base, size; } setup;

static FN void plan(struct area *a)
{
    a->self = (u64)a;
    setup.size = 0x7000;
    setup.base = setup.size;
}
static FN void load_base(void) { hypercall(25, 0, setup.base, 0, 0); }
static FN u64 current(void)
{
    u64 result;
    __asm__ volatile("movq %%fs:8, %0" : "=r"(result));
    return result;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "segment-base");
    plan(&areas[0]);
    load_base();
    work(300);
    say_hex(current());
    leave(POWEROFF);
}
