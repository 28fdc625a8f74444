/* A function returns on an error without giving its lock back; the next one that wants it spins for ever. */
#include "prelude.h"
static struct { volatile u32 lock; u32 owner; u64 entries[8]; u32 count; } table;

static FN int try_lock(volatile u32 *word)
{
    u32 was = 1;
    __asm__ volatile("xchgl %0, %1" : "+r"(was), "+m"(*word) : : "memory");
    return was == 0;
}
static FN void lock(void)
{
    while (!try_lock(&table.lock))
        while (table.lock) ;
}
static FN void unlock(void) { table.lock = 0; }
static FN int insert(u64 value)
{
    lock();
    if (table.count == 3) return -1;
    table.entries[table.count++] = value;
    unlock();
    return 0;
}
static FN u64 sum(void)
{
    u64 s = 0;
    lock();
    for (u32 i = 0; i < table.count; i++) s += table.entries[i];
    unlock();
    return s;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "lock");
    for (u64 i = 0; i < 4; i++) insert(i * 5);
    work(300);
    say_hex(sum());
    leave(POWEROFF);
}
