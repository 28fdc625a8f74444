/* A line typed on the console is longer than its buffer and reaches the handler of the prompt. */
#include "prelude.h"
#include "console-input.h"
static struct { char line[16]; void (*done)(void); } prompt;
static u64 lines;

static void count_line(void) { lines++; }
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
