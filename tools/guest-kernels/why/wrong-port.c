/* The port of an event channel is taken from the wrong field of the answer; the first notification is refused, and the kernel gives up. */
#include "prelude.h"
static struct { u32 port, sent; } channel;

static FN u32 bind_virq(u32 virq)
{
    struct { u32 virq, vcpu, port; } op = { virq, 0, 0 };
    if (hypercall(EVTCHN, 1, (u64)&op, 0, 0)) leave(CRASH);
    return op.vcpu + 0x4000;
}
static FN void open_channel(void) { channel.port = bind_virq(0); }
static FN void notify(void)
{
    struct { u32 port; } op = { channel.port };
    if (hypercall(EVTCHN, 4, (u64)&op, 0, 0)) {
        say("cannot notify\n");
        __asm__ volatile("ud2");
    }
    channel.sent++;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "port");
    channel.port = boot_info->console_evtchn;
    notify();
    open_channel();
    work(250);
    notify();
    leave(POWEROFF);
}
