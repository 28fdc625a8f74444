/* A pair of pointers is kept in a vector register from one function to the next; the second is no pointer. */
#include "prelude.h"
struct pair { u64 *first, *second; } __attribute__((aligned(16)));
static struct pair source, saved;
static u64 number;
static volatile u64 sink;

static FN void set_pair(struct pair *p, u64 *first, u64 second)
{
    p->first = first;
    p->second = (u64 *)second;
}
static FN void load_pair(const struct pair *p) { __asm__ volatile("movups (%0), %%xmm3\n movaps %%xmm3, %%xmm7" : : "r"(p)); }
static FN void save_pair(struct pair *p) { __asm__ volatile("movups %%xmm7, (%0)" : : "r"(p) : "memory"); }
static FN u64 sum_pair(const struct pair *p) { return *p->first + *p->second; }
static FN void set_up(void) { set_pair(&source, &number, 0x00aa00bb00cc0000UL); }
void kernel_main(const struct start_info *info)
{
    begin(info, "vector");
    number = 4;
    set_up();
    load_pair(&source);
    work(1200);
    save_pair(&saved);
    sink = sum_pair(&saved);
    say_hex(sink);
    leave(POWEROFF);
}
