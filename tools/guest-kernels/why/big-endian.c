/* A length in the initrd's header is big-endian and is not swapped: the end of the data lies far outside. */
#include "prelude.h"
struct header { u32 magic, length; u8 data[]; };
static struct { const struct header *header; const u8 *end; } archive;
static volatile u64 sink;

static FN u64 length_of(const struct header *h) { return h->length; }
static FN void open_archive(void)
{
    archive.header = (const struct header *)boot_info->mod_start;
    archive.end = archive.header->data + length_of(archive.header);
}
static FN u8 last_byte(void) { return archive.end[-1]; }
void kernel_main(const struct start_info *info)
{
    begin(info, "big-endian");
    open_archive();
    work(600);
    sink = last_byte();
    say_hex(sink);
    leave(POWEROFF);
}
