/* The state of a machine is advanced once too often; the call goes through what lies behind its table, which is nothing. */
#include "prelude.h"
static u64 steps;
static void idle(void) { steps += 1; }
static void run(void) { steps += 2; }
static struct { void (*act[3])(void); u64 reserved[4]; u64 state; } machine;

static FN void start_machine(void)
{
    machine.act[0] = idle;
    machine.act[1] = run;
    machine.act[2] = idle;
    machine.state = 0;
}
static FN void advance(int event)
{
    if (event == 1) machine.state = 2;
    if (event == 2) machine.state = 5;
}
static FN void act(void) { machine.act[machine.state](); }
void kernel_main(const struct start_info *info)
{
    begin(info, "machine");
    start_machine();
    act();
    for (int event = 0; event < 3; event++) {
        advance(event);
        work(100);
        act();
    }
    say_hex(steps);
    leave(POWEROFF);
}
