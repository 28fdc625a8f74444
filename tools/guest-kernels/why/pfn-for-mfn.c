/* A window is moved to another page by that page's number in the guest where Xen wants the machine's; the refusal ends the kernel. */
#include "prelude.h"
static u64 buffer[512] PAGED;
static u64 other[512] PAGED;
static u64 window[512] PAGED;
static struct mapping { u64 frame, flags; void *at; } plan;

static FN u64 number_of(const void *page) { return ((u64)page - BASE) / PAGE; }
static FN void plan_mapping(void)
{
    plan.at = window;
    plan.flags = 0x67;
    plan.frame = mfn_of(buffer);
}
static FN void move_window(const void *page) { plan.frame = number_of(page); }
static FN void apply(const struct mapping *m)
{
    if (map_page(m->at, m->frame, m->flags)) {
        say("mapping refused\n");
        leave(CRASH);
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "pfn");
    buffer[0] = 77;
    plan_mapping();
    apply(&plan);
    say_hex(window[0]);
    move_window(other);
    work(1500);
    apply(&plan);
    say_hex(window[0]);
    leave(POWEROFF);
}
