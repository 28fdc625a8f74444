/* A queue is used before the function that sets it up has run. */
#include "prelude.h"
struct queue { struct queue *next; u64 count; };
static struct { struct queue *head; u64 started; } work_queue;
static struct queue first;

static FN void start_queue(void)
{
    work_queue.head = &first;
    work_queue.started = 1;
}
static FN void add_work(u64 n) { work_queue.head->count += n; }
static FN void start_drivers(void)
{
    work(200);
    add_work(2);
}
void kernel_main(const struct start_info *info)
{
    begin(info, "init-order");
    start_drivers();
    start_queue();
    say_hex(first.count);
    leave(POWEROFF);
}
