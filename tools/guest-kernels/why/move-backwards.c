/* A list is moved up by a string instruction that goes backwards, one element too far: it takes the place of a pointer. */
#include "prelude.h"
static struct { u64 items[8]; u64 *cursor; } list;
static u64 target;
static volatile u64 sink;

static FN void fill(void)
{
    for (u64 i = 0; i < 8; i++) list.items[i] = 0x7700770077000000UL + i;
    list.cursor = &target;
}
static FN void move_up(u64 *last_to, u64 *last_from, u64 n)
{
    __asm__ volatile("std\n rep movsq\n cld" : "+D"(last_to), "+S"(last_from), "+c"(n) : : "memory");
}
static FN void insert_front(u64 count)
{
    move_up(&list.items[count], &list.items[count - 1], count);
    list.items[0] = 1;
}
static FN u64 at_cursor(void) { return *list.cursor; }
void kernel_main(const struct start_info *info)
{
    begin(info, "backwards");
    target = 3;
    fill();
    sink = at_cursor();
    insert_front(8);
    work(800);
    sink = at_cursor();
    say_hex(sink);
    leave(POWEROFF);
}
