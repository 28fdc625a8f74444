/* A byte is set in a table by an index that nobody checks; it lands in a descriptor of the GDT that is loaded afterwards. */
#include "prelude.h"
static struct { u8 seen[4096]; u64 gdt[512]; } PAGED board;
struct report { u32 source; u8 state; };

static FN void fill_descriptors(void)
{
    board.gdt[1] = 0x00affb000000ffffUL;
    board.gdt[2] = 0x00cff3000000ffffUL;
    board.gdt[3] = 0x00cff3000000ffffUL;
}
static FN void mark_source(const struct report *r) { board.seen[r->source] = r->state; }
static FN void read_reports(void)
{
    struct report list[3] = { { 17, 1 }, { 4095, 1 }, { 4096 + 3 * 8 + 5, 0x12 } };
    for (int i = 0; i < 3; i++) mark_source(&list[i]);
}
static FN void load_descriptors(void)
{
    u64 frame = mfn_of(board.gdt);
    if (map_page(board.gdt, frame, 0x65)) say("cannot make the table read-only\n");
    if (hypercall(SET_GDT, (u64)&frame, 512, 0, 0)) say("cannot load the table\n");
}
static FN void select_data(u16 selector) { __asm__ volatile("movw %0, %%fs" : : "r"(selector)); }
void kernel_main(const struct start_info *info)
{
    begin(info, "event-flags");
    fill_descriptors();
    read_reports();
    load_descriptors();
    select_data(2 << 3 | 3);
    say("first selector\n");
    select_data(3 << 3 | 3);
    say("second selector\n");
    leave(POWEROFF);
}
