/* The handler of the timer advances a cursor that the code it interrupts relies on; it leaps over the end of everything. */
#include "prelude.h"
static u64 shared_page[512] PAGED;
static struct { u8 *at; u64 stride; } cursor;
static u8 bytes[64];
static volatile u64 ticks;
static volatile u64 sink;
extern char timer_entry[];
__asm__(".text\n.globl timer_entry\n.type timer_entry, @function\ntimer_entry: .irp r,rax,rdx,rsi,rdi,r8,r9,r10\n pushq %\\r\n .endr\n call on_timer\n .irp r,r10,r9,r8,rdi,rsi,rdx,rax\n popq %\\r\n .endr\n"
        " popq %rcx\n popq %r11\n pushq $0\n pushq %rcx\n pushq %r11\n pushq %rax\n movl $23, %eax\n syscall\n ud2\n.size timer_entry, . - timer_entry");

static FN void advance(void) { cursor.at += cursor.stride; }
FN void on_timer(void)
{
    volatile u8 *pending = (volatile u8 *)shared_page;
    *pending = 0;
    shared_page[0x200 / 8 + 0x600 / 8] = 0;
    ticks++;
    advance();
}
static FN void set_stride(u64 n) { cursor.stride = n << 36; }
static FN void start(void)
{
    struct { u32 virq, vcpu, port; } op = { 0, 0, 0 };
    if (map_page(shared_page, boot_info->shared_info / PAGE, 0x67)) leave(CRASH);
    hypercall(SET_CALLBACKS, (u64)timer_entry, (u64)timer_entry, 0, 0);
    if (hypercall(EVTCHN, 1, (u64)&op, 0, 0)) leave(CRASH);
    cursor.at = bytes;
    set_stride(3);
    ((volatile u8 *)shared_page)[1] = 0;
    hypercall(SET_TIMER, 2000000, 0, 0, 0);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "timer-handler");
    start();
    while (ticks == 0) { sink = *cursor.at; work(50); }
    sink = *cursor.at;
    say_hex(sink);
    leave(POWEROFF);
}
