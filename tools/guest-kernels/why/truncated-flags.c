/* Flags of a mapping are kept in a byte whose upper bits are masked too early; the page comes out read-only, and is written to later. */
#include "prelude.h"
static u64 page[512] PAGED;
static struct { u64 frame; u8 flags; } request;

static FN u8 keep(u64 flags) { return flags & 0x65; }
static FN void want(void *p, u64 flags)
{
    request.frame = mfn_of(p);
    request.flags = keep(flags);
}
static FN void map_wanted(void *p)
{
    struct mmu_update update;
    u64 table = boot_info->pt_base + 3 * PAGE;
    update.ptr = mfn_of((void *)table) * PAGE + (((u64)p - BASE) / PAGE & 511) * 8;
    update.val = request.frame * PAGE | request.flags;
    if (hypercall(MMU_UPDATE, (u64)&update, 1, 0, SELF)) leave(CRASH);
}
static FN void count_up(void) { page[9]++; }
void kernel_main(const struct start_info *info)
{
    begin(info, "flags");
    count_up();
    want(page, 0x67);
    map_wanted(page);
    work(600);
    say_hex(page[9]);
    count_up();
    leave(POWEROFF);
}
