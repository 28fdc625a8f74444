/* Records in the initrd say how long they are; one lies, and the sum leads out of everything. */
#include "prelude.h"
struct cursor { const u8 *start; u64 offset, size; };
static struct cursor cursor;
static u64 total;

static FN void open_archive(void)
{
    cursor.start = (const u8 *)boot_info->mod_start;
    cursor.size = boot_info->mod_len;
    cursor.offset = 0;
}
static FN u8 next_byte(void) { return cursor.start[cursor.offset++]; }
static FN u64 next_number(void)
{
    u64 shift = next_byte();
    return 1UL << (shift & 63);
}
static FN void skip_record(void) { cursor.offset = next_number() + 1; }
static FN void parse_archive(void)
{
    while (next_byte() != 0xff) {
        skip_record();
        total++;
        work(50);
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "initrd");
    open_archive();
    parse_archive();
    say_hex(total);
    leave(POWEROFF);
}
