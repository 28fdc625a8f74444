/* A monitor shows memory at an address that is typed on the console. */
#include "prelude.h"
struct ring { char in[1024], out[2048]; u32 in_cons, in_prod, out_cons, out_prod; };
static volatile struct ring *console;
static struct { u64 *address; u64 shown; } monitor;
static char line[32];

static FN void find_console(void)
{
    for (u64 pfn = 0; pfn < boot_info->nr_pages; pfn++)
        if (p2m[pfn] == boot_info->console_mfn) console = (volatile struct ring *)(BASE + pfn * PAGE);
}
static FN char next_char(void)
{
    u32 port = boot_info->console_evtchn;
    struct { u32 *ports; u32 count, pad; u64 timeout; } poll = { &port, 1, 0, 0 };
    while (console->in_cons == console->in_prod) hypercall(SCHED, 3, (u64)&poll, 0, 0);
    char c = console->in[console->in_cons & 1023];
    console->in_cons++;
    return c;
}
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
