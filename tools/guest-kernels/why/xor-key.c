/* Pointers are kept xored with a key; a name from the command line runs over into the key, and what is decoded is no pointer. */
#include "prelude.h"
static struct { char name[16]; u64 key; u64 hidden; } vault;
static u64 secret = 11;
static volatile u64 sink;

static FN u64 *decode(u64 hidden, u64 key) { return (u64 *)(hidden ^ key); }
static FN void hide(u64 *p)
{
    vault.key = 0x5a5a1234a5a5UL;
    vault.hidden = (u64)p ^ vault.key;
}
static FN void copy_word(char *to, const char *from)
{
    while (*from && *from != ' ') *to++ = *from++;
}
static FN void set_name(void) { copy_word(vault.name, boot_info->cmd_line); }
static FN void reveal(void) { sink = *decode(vault.hidden, vault.key); }
void kernel_main(const struct start_info *info)
{
    begin(info, "xor-key");
    hide(&secret);
    reveal();
    set_name();
    work(800);
    reveal();
    say_hex(sink);
    leave(POWEROFF);
}
