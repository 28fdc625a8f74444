/* A slot is exchanged for a mark that means busy; whoever takes it next follows the mark. */
#include "prelude.h"
struct node { struct node *next; u64 value; };
static struct node nodes[3];
static struct node *slot;
static struct node *local;
static u64 busy_mark;

static FN void choose_mark(void) { busy_mark = 0x8000b051b051b050UL; }
static FN struct node *swap(struct node **at, struct node *with)
{
    __asm__ volatile("xchgq %0, %1" : "+r"(with), "+m"(*at) : : "memory");
    return with;
}
static FN void begin_work(void)
{
    local = swap(&slot, (struct node *)busy_mark);
    local->value++;
}
static FN void end_work(int failed)
{
    if (!failed) swap(&slot, local);
}
static FN u64 peek(void)
{
    struct node *n = slot;
    return n->value;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "swap");
    choose_mark();
    slot = &nodes[0];
    for (int i = 0; i < 3; i++) {
        begin_work();
        end_work(i == 2);
        work(200);
        say_hex(peek());
    }
    leave(POWEROFF);
}
