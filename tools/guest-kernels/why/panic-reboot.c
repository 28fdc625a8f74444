/* A pointer is cleared when a device goes; the handler of the fault that follows reports a panic and reboots. */
#include "prelude.h"
struct device { u64 id, irq, *mmio; };
static struct device devices[3];
static u64 registers[8];

static FN void add_device(int i)
{
    devices[i].id = i + 1;
    devices[i].irq = 10 + i;
    devices[i].mmio = registers + i;
}
static FN void detach(struct device *d) { d->mmio = 0; }
static FN u64 read_status(struct device *d) { return d->mmio[4]; }
static FN void suspend(void)
{
    detach(&devices[1]);
    work(2000);
}
FN void on_trap(struct regs *r, u64 vector)
{
    say("panic: unexpected trap at ");
    say_hex(r->rip);
    work(500);
    leave(REBOOT);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "panic-reboot");
    set_traps();
    for (int i = 0; i < 3; i++) add_device(i);
    suspend();
    for (int i = 0; i < 3; i++) say_hex(read_status(&devices[i]));
    leave(POWEROFF);
}
