/* An element is put into a list twice, which makes it its own successor: who goes through the list never comes to an end. */
#include "prelude.h"
struct item { struct item *next; u64 key; };
static struct item items[3];
static struct item *head;

static FN void push(struct item *it)
{
    it->next = head;
    head = it;
}
static FN int count_key(u64 key)
{
    int n = 0;
    for (struct item *it = head; it; it = it->next)
        if (it->key == key) return n;
        else n++;
    return -1;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "cycle");
    for (int i = 0; i < 3; i++) { items[i].key = i + 1; push(&items[i]); }
    say_hex(count_key(2));
    push(&items[2]);
    work(200);
    say_hex(count_key(77));
    leave(POWEROFF);
}
