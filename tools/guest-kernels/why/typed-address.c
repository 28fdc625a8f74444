/* A monitor shows memory at an address that is typed on the console. */
#include "prelude.h"
#include "console-input.h"
static struct { u64 *address; u64 shown; } monitor;
static char line[32];

static FN int read_line(char *to, int most)
{
    int n = 0;
    while (n < most - 1) {
        char c = next_char();
        if (c == '\n' || c == '\r') break;
        to[n++] = c;
    }
    to[n] = 0;
    return n;
}
static FN u64 digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }
static FN void set_address(const char *text)
{
    u64 value = 0;
    while (*text) value = value << 4 | digit(*text++);
    monitor.address = (u64 *)value;
}
static FN void show(void)
{
    monitor.shown = *monitor.address;
    say_hex(monitor.shown);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "monitor");
    find_console();
    say("address: ");
    read_line(line, sizeof(line));
    set_address(line);
    work(400);
    show();
    leave(POWEROFF);
}
