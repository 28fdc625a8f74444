/* A task's name, from the command line, is longer than its field and reaches the stack pointer saved behind it; the next switch fails. */
#include "prelude.h"
struct task { char name[16]; u64 stack; };
static struct task tasks[2];
static u64 stacks[2][512] PAGED;
void __attribute__((noipa)) run_task(struct task *from, struct task *to);
__asm__(".text\n.globl run_task\n.type run_task, @function\nrun_task: pushq %rbx\n pushq %rbp\n movq %rsp, 16(%rdi)\n movq 16(%rsi), %rsp\n"
        " popq %rbp\n popq %rbx\n ret\n.size run_task, . - run_task");

static FN void worker(void)
{
    say("worker runs\n");
    run_task(&tasks[1], &tasks[0]);
    say("worker runs again\n");
    leave(POWEROFF);
}
static FN void make_task(struct task *t, u64 *stack)
{
    stack[509] = (u64)worker;
    t->stack = (u64)&stack[507];
}
static FN void copy_text(char *to, const char *from)
{
    while ((*to = *from)) { to++; from++; }
}
static FN void name_task(struct task *t, const char *name) { copy_text(t->name, name); }
void kernel_main(const struct start_info *info)
{
    begin(info, "saved-stack");
    make_task(&tasks[1], stacks[1]);
    run_task(&tasks[0], &tasks[1]);
    name_task(&tasks[1], info->cmd_line);
    work(2000);
    run_task(&tasks[0], &tasks[1]);
    leave(POWEROFF);
}
