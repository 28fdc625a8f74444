/* A new page table is filled with the frame behind the one that is meant, which is the table's own: Xen refuses it, the kernel gives up. */
#include "prelude.h"
static struct { u64 data[512]; u64 table[512]; } PAGED mem;
static u32 slots[] = { 3, 9, 20 };

static FN u64 frame_behind(const void *page) { return mfn_of(page) + 1; }
static FN void set_slot(u64 slot, u64 frame) { mem.table[slot] = frame * PAGE | 0x67; }
static FN void fill_table(void)
{
    set_slot(slots[0], mfn_of(mem.data));
    set_slot(slots[1], mfn_of(slots));
    set_slot(slots[2], frame_behind(mem.data));
}
static FN void use_table(void)
{
    struct mmuext_op pin = { 0, mfn_of(mem.table), 0 };
    if (map_page(mem.table, mfn_of(mem.table), 0x65)) leave(CRASH);
    if (hypercall(MMUEXT, (u64)&pin, 1, 0, SELF)) {
        say("no page table\n");
        leave(CRASH);
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "next-frame");
    mem.data[0] = 1;
    fill_table();
    work(2000);
    use_table();
    leave(POWEROFF);
}
