/* An entry for a page is put into a table of the second level instead of the first: Xen refuses, the kernel gives up. */
#include "prelude.h"
static u64 first[512] PAGED;
static u64 second[512] PAGED;
static struct mmu_update batch[4];
static int queued;

static FN u64 slot_of(const void *address, int level)
{
    u64 table = (u64)boot_info->pt_base + (u64)(4 - level) * PAGE;
    return mfn_of((void *)table) * PAGE + ((u64)address >> (12 + 9 * (level - 1)) & 511) * 8;
}
static FN void queue_update(u64 slot, u64 value)
{
    batch[queued].ptr = slot;
    batch[queued].val = value;
    queued++;
}
static FN void map_again(void *p, int level) { queue_update(slot_of(p, level), mfn_of(p) * PAGE | 0x67); }
static FN void flush(void)
{
    u32 done = 0;
    if (hypercall(MMU_UPDATE, (u64)batch, queued, (u64)&done, SELF)) {
        say("updates refused\n");
        leave(CRASH);
    }
    queued = 0;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "wrong-level");
    map_again(first, 1);
    flush();
    work(900);
    map_again(second, 2);
    flush();
    say("mapped\n");
    leave(POWEROFF);
}
