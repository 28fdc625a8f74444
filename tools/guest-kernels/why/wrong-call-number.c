/* The numbers of hypercalls are put into a table at start; one is wrong, the call does not exist, and the kernel gives up. */
#include "prelude.h"
enum { CALL_TIMER, CALL_EVENT, CALL_SCHED, CALLS };
static u32 numbers[CALLS];

static FN void choose_calls(void)
{
    numbers[CALL_TIMER] = 51;
    numbers[CALL_EVENT] = EVTCHN;
    numbers[CALL_SCHED] = SCHED;
}
static FN long invoke(int which, u64 a, u64 b) { return hypercall(numbers[which], a, b, 0, 0); }
static FN void start_clock(void)
{
    long result = invoke(CALL_TIMER, 1000000000, 0);
    if (result != 0) {
        say("no timer\n");
        __asm__ volatile("ud2");
    }
}
void kernel_main(const struct start_info *info)
{
    begin(info, "numbers");
    choose_calls();
    work(1000);
    invoke(CALL_SCHED, 0, 0);
    start_clock();
    say("up\n");
    leave(POWEROFF);
}
