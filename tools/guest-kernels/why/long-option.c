/* The value of an option is longer than its field, behind which the handler's structure is pointed to. */
#include "prelude.h"
struct handler { u64 calls; u64 (*run)(u64); };
static struct { char value[24]; struct handler *handler; } option;
static u64 twice(u64 x) { return 2 * x; }
static struct handler default_handler = { 0, twice };

static FN const char *after_equals(const char *s)
{
    while (*s && *s != '=') s++;
    return *s ? s + 1 : s;
}
static FN void store_value(char *to, const char *from)
{
    while (*from && *from != ' ') *to++ = *from++;
}
static FN void parse(const char *line) { store_value(option.value, after_equals(line)); }
static FN u64 dispatch(u64 x)
{
    option.handler->calls++;
    return option.handler->run(x);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "option");
    option.handler = &default_handler;
    say_hex(dispatch(3));
    parse(info->cmd_line);
    work(1100);
    say_hex(dispatch(4));
    leave(POWEROFF);
}
