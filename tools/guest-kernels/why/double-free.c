/* A buffer is given back twice and then handed out twice; the text that its second owner writes is the first one's callback. */
#include "prelude.h"
struct block { struct block *next; u64 body[3]; };
struct timer { void (*expired)(struct timer *); u64 when, period; };
static struct block blocks[4];
static struct block *spare;
static u64 fired;

static FN void give_back(void *p) { struct block *b = p; b->next = spare; spare = b; }
static FN void *take(void)
{
    struct block *b = spare;
    spare = b->next;
    return b;
}
static void on_timer(struct timer *t) { fired++; }
static FN void copy_text(char *to, const char *from) { while ((*to++ = *from++)) ; }
static FN struct timer *new_timer(void)
{
    struct timer *t = take();
    t->expired = on_timer;
    t->when = 100;
    return t;
}
static FN char *new_label(const char *text)
{
    char *label = take();
    copy_text(label, text);
    return label;
}
static FN void cancel(void *p)
{
    give_back(p);
    if (fired == 0) give_back(p);
}
static FN void expire(struct timer *t) { t->expired(t); }
void kernel_main(const struct start_info *info)
{
    begin(info, "double-free");
    for (int i = 0; i < 4; i++) give_back(&blocks[i]);
    cancel(take());
    struct timer *t = new_timer();
    say(new_label("second owner's label"));
    work(900);
    expire(t);
    leave(POWEROFF);
}
