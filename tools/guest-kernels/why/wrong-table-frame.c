/* A list of frames is built for the descriptor tables with the frame of a page that is written to; the call is refused and reported. */
#include "prelude.h"
static u64 gdt[512] PAGED;
static u64 scratch[512] PAGED;
static struct { u64 frames[2]; u32 entries; } request;

static FN void fill_gdt(void) { gdt[1] = 0x00affb000000ffffUL; gdt[2] = 0x00cff3000000ffffUL; }
static FN void fill_scratch(void) { for (int i = 0; i < 512; i++) scratch[i] = 0x0f0f0f0f0f0f0f0fUL; }
static FN void add_frame(int i, const void *page) { request.frames[i] = mfn_of(page); }
static FN void make_request(void)
{
    add_frame(0, gdt);
    add_frame(1, scratch);
    request.entries = 1024;
}
static FN void load(void)
{
    if (map_page(gdt, mfn_of(gdt), 0x65)) leave(CRASH);
    if (hypercall(SET_GDT, (u64)request.frames, request.entries, 0, 0)) {
        say("descriptor table refused\n");
        leave(CRASH);
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "table-frame");
    fill_gdt();
    fill_scratch();
    make_request();
    work(400);
    load();
    leave(POWEROFF);
}
