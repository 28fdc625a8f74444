/* A page is cleared at an address that was computed from the end of the kernel: it is Xen's list of frames. A mapping fails by it. */
#include "prelude.h"
static u64 page[512] PAGED;
static u64 scratch;

static FN void find_scratch(void) { scratch = (boot_info->mfn_list + PAGE - 1) & ~(PAGE - 1); }
static FN void clear_page(u64 *at)
{
    u64 n = 512;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(0UL) : "memory");
}
static FN void prepare(void)
{
    find_scratch();
    clear_page((u64 *)scratch);
}
static struct mmu_update update;
static FN void find_entry(void)
{
    u64 table = boot_info->pt_base + 3 * PAGE;
    update.ptr = mfn_of((void *)table) * PAGE + (((u64)page - BASE) / PAGE & 511) * 8;
}
static FN void make_update(void)
{
    update.val = mfn_of(page) * PAGE | 0x65;
}
static FN void protect(void)
{
    if (hypercall(MMU_UPDATE, (u64)&update, 1, 0, SELF)) {
        say("cannot protect\n");
        leave(CRASH);
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "early-zero");
    page[0] = 1;
    find_entry();
    make_update();
    protect();
    prepare();
    work(600);
    make_update();
    protect();
    leave(POWEROFF);
}
