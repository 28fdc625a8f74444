/* A pointer that was never right goes through a structure, a copy of it and a memcpy before it is used. */
#include "prelude.h"
struct request { u32 kind, flags; u64 *buffer; u64 length; };
static struct request queue[4];
static struct { struct request current; u64 done; } device;
static u64 disk_buffer[64];

static FN void copy_bytes(void *to, const void *from, u64 n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }
static FN void make_request(struct request *r, u32 kind)
{
    r->kind = kind;
    r->length = 8;
    r->buffer = kind == 2 ? (u64 *)0xdead0000cafe0000UL : disk_buffer;
}
static FN void enqueue(int slot, u32 kind)
{
    struct request r;
    make_request(&r, kind);
    queue[slot] = r;
}
static FN void start_device(int slot)
{
    copy_bytes(&device.current, &queue[slot], sizeof(struct request));
    work(700);
}
static FN void finish(void)
{
    device.current.buffer[0] = 1;
    device.done++;
}
void kernel_main(const struct start_info *info)
{
    begin(info, "struct-copy");
    for (int i = 0; i < 4; i++) enqueue(i, i);
    for (int i = 0; i < 4; i++) { start_device(i); finish(); }
    leave(POWEROFF);
}
