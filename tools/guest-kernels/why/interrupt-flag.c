/* A critical section of the bare machine's: CLI, which a guest in ring 3 may not use. */
#include "prelude.h"
static u64 counter;

static FN void enter_section(void) { __asm__ volatile("cli" : : : "memory"); }
static FN void leave_section(void) { __asm__ volatile("sti" : : : "memory"); }
static FN void count(void)
{
    enter_section();
    counter++;
    leave_section();
}
static FN void start_counting(void)
{
    work(500);
    count();
}
void kernel_main(const struct start_info *info)
{
    begin(info, "interrupt-flag");
    start_counting();
    say_hex(counter);
    leave(POWEROFF);
}
