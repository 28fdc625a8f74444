/* The kernel waits for its timer, but has masked the port of another event by the wrong number: the timer's. It sleeps for ever. */
#include "prelude.h"
static volatile u64 *shared;
static u64 shared_page[512] PAGED;
static u32 timer_port;
static volatile u64 ticks;
static FN __attribute__((used)) void on_event(void) { ticks++; ((volatile u8 *)shared_page)[0] = 0; }
extern char event_entry[];
__asm__(".text\nevent_entry: .irp r,rax,rcx,rdx,rsi,rdi,r8,r9,r10,r11\n pushq %\\r\n .endr\n call on_event\n .irp r,r11,r10,r9,r8,rdi,rsi,rdx,rcx,rax\n popq %\\r\n .endr\n"
        " popq %rcx\n popq %r11\n pushq $0\n pushq %rcx\n pushq %r11\n pushq %rax\n movl $23, %eax\n syscall\n ud2\n");

static FN void map_shared(void)
{
    if (hypercall(UPDATE_VA, (u64)shared_page, boot_info->shared_info | 0x67, 2, 0)) leave(CRASH);
    hypercall(SET_CALLBACKS, (u64)event_entry, (u64)event_entry, 0, 0);
}
static FN u32 bind_timer(void)
{
    struct { u32 virq, vcpu, port; } op = { 0, 0, 0 };
    if (hypercall(EVTCHN, 1, (u64)&op, 0, 0)) leave(CRASH);
    return op.port;
}
static FN void mask_port(u32 port)
{
    volatile u64 *mask = shared_page + (0xa00 / 8);
    mask[port / 64] |= 1UL << (port % 64);
}
static FN void quiet_console(void) { mask_port(timer_port); }
static FN void wait_tick(void)
{
    hypercall(SET_TIMER, 3000000000UL, 0, 0, 0);
    while (ticks == 0) hypercall(SCHED, 1, 0, 0, 0);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "masked");
    map_shared();
    timer_port = bind_timer();
    quiet_console();
    wait_tick();
    say("tick\n");
    leave(POWEROFF);
}
