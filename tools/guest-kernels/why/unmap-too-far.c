/* A range of pages is unmapped with its end taken as part of it: the page behind it, the allocator's, goes too. It is written to later. */
#include "prelude.h"
static struct { u64 window[4][512]; struct { u64 used, limit, log[510]; } heap; } PAGED area;

static FN long clear_entry(void *page) { return hypercall(UPDATE_VA, (u64)page, 0, 2, 0); }
static FN void unmap_range(u64 from, u64 to)
{
    for (u64 at = from; at <= to; at += PAGE)
        if (clear_entry((void *)at)) leave(CRASH);
}
static FN void fill_window(void)
{
    for (int i = 0; i < 4; i++) area.window[i][7] = i + 1;
}
static FN u64 reserve(u64 bytes)
{
    u64 at = area.heap.used;
    area.heap.used = at + bytes;
    return at;
}
static FN void close_window(void)
{
    work(2000);
    unmap_range((u64)area.window[0], (u64)area.window[4]);
    say("window closed\n");
}
void kernel_main(const struct start_info *info)
{
    begin(info, "unmap");
    area.heap.limit = 4096;
    say_hex(reserve(64));
    fill_window();
    close_window();
    work(5000);
    say_hex(reserve(64));
    leave(POWEROFF);
}
