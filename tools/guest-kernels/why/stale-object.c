/* A driver keeps a pointer to an object that it has given back; the free list's link has taken the place of its operations. */
#include "prelude.h"
struct ops { u64 id; u64 (*probe)(void); };
struct object { union { const struct ops *ops; struct object *next; }; u64 payload[7]; };
static struct object pool[4];
static struct object *free_list;
static struct object *cached;
static u64 probe_disk(void) { return 0x10; }
static const struct ops disk_ops = { 1, probe_disk };

static FN void pool_start(void)
{
    for (int i = 0; i < 3; i++) pool[i].next = &pool[i + 1];
    pool[3].next = 0;
    free_list = &pool[0];
}
static FN struct object *take(void)
{
    struct object *o = free_list;
    if (o) free_list = o->next;
    return o;
}
static FN void give_back(struct object *o)
{
    o->next = free_list;
    free_list = o;
}
static FN void open_disk(void)
{
    struct object *others[3];
    for (int i = 0; i < 3; i++) { others[i] = take(); others[i]->ops = &disk_ops; }
    cached = take();
    cached->ops = &disk_ops;
    cached->payload[0] = 5;
}
static FN void close_disk(void) { give_back(cached); }
static FN u64 poll_disk(void) { return cached->ops->probe(); }
void kernel_main(const struct start_info *info)
{
    begin(info, "stale");
    pool_start();
    open_disk();
    say_hex(poll_disk());
    close_disk();
    work(3000);
    say_hex(poll_disk());
    leave(POWEROFF);
}
