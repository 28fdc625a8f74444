/* A line typed on the console is longer than its buffer and reaches the handler of the prompt. */
#include "prelude.h"
struct ring { char in[1024], out[2048]; u32 in_cons, in_prod, out_cons, out_prod; };
static volatile struct ring *console;
static struct { char line[16]; void (*done)(void); } prompt;
static u64 lines;

static void count_line(void) { lines++; }
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
static FN void read_line(char *to)
{
    for (;;) {
        char c = next_char();
        if (c == '\n' || c == '\r') break;
        *to++ = c;
    }
}
static FN void ask(void)
{
    say("name: ");
    read_line(prompt.line);
    work(100);
    prompt.done();
}
void kernel_main(const struct start_info *info)
{
    begin(info, "prompt");
    find_console();
    prompt.done = count_line;
    ask();
    say_hex(lines);
    leave(POWEROFF);
}
