/* A routine in assembly uses a register that it should have saved; its caller goes on with what is left in it. */
#include "prelude.h"
static u64 numbers[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static u64 result;
u64 fast_sum(const u64 *at, u64 n);
__asm__(".text\n.globl fast_sum\n.type fast_sum, @function\nfast_sum: xorl %eax, %eax\n movabsq $0x0101010101010101, %rbx\n"
        "1: addq (%rdi), %rax\n addq $8, %rdi\n decq %rsi\n jnz 1b\n ret\n.size fast_sum, . - fast_sum");

static FN void add_to(u64 *total, const u64 *at, u64 n)
{
    u64 sum = fast_sum(at, n);
    __asm__ volatile("" : : : "memory");
    *total += sum;
}
static FN void total_up(void)
{
    for (int i = 0; i < 2; i++) add_to(&result, numbers + i, 4);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "clobbered");
    total_up();
    say_hex(result);
    leave(POWEROFF);
}
