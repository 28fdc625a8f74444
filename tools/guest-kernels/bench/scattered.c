/*
 * Code that is scattered as a kernel's is: every page holds a function that does a little and calls into another page. And code that is
 * new all the time: pages are overwritten with fresh functions that run hot for a while, as a guest does that loads and unloads modules.
 */
#include "bench.h"

extern const u8 body_template[], leaf_template[];
/* Absolute symbols: the address is the number. */
extern const u8 body_number[], body_call[], body_end[], leaf_end[];

#define PAGES 2000
#define LEAF_AT 2048
#define CALLS_A_ROUND 1000000

static u8 code[PAGES][PAGE_SIZE] PAGE_ALIGNED;
static u64 data[512] PAGE_ALIGNED;
static u64 (*order[PAGES])(u64 value, u64 *data);

/* Functions begin at different places of their pages, as they do in real code. */
static u32 place(u32 page)
{
    return page * 37 % 29 * 64;
}
static void copy_to(u8 *to, const u8 *from, u64 length)
{
    while (length--)
        *to++ = *from++;
}
/* Writes the function of a page: `number` is its own, `callee` the page of the leaf that it calls. */
static void plant(u32 page, u32 number, u32 callee)
{
    u8 *body = code[page] + place(page);
    u8 *leaf = code[callee] + LEAF_AT + place(callee);
    copy_to(code[page] + LEAF_AT + place(page), leaf_template, (u64)leaf_end);
    copy_to(body, body_template, (u64)body_end);
    *(u32 *)(body + (u64)body_number) = number;
    *(u32 *)(body + (u64)body_call) = leaf - (body + (u64)body_call + 4);
}

static u64 scattered(u64 rounds, u32 pages)
{
    u64 value = 1;
    u32 i, at = 0;
    for (i = 0; i < pages; i++)
        plant(i, next_random() >> 33 | 1, (i * 7 + 3) % pages);
    for (i = 0; i < pages; i++)
        order[i] = (void *)(code[i * 611UL % pages] + place(i * 611UL % pages));
    for (i = 0; i < 512; i++)
        data[i] = next_random();
    while (rounds--)
        for (i = 0; i < CALLS_A_ROUND; i++) {
            value = order[at](value, data);
            at = at + 1 == pages ? 0 : at + 1;
        }
    return value;
}
u64 scattered200(u64 rounds)
{
    return scattered(rounds, 200);
}
u64 scattered2000(u64 rounds)
{
    return scattered(rounds, 2000);
}

/* A round: the next page gets a new function, which then runs hot together with the leaf that it calls. */
u64 newcode(u64 rounds)
{
    u64 value = 1;
    u32 page, i;
    for (page = 0; page < PAGES; page++)
        plant(page, page | 1, page);
    for (page = 0; rounds--; page = page + 1 == PAGES ? 0 : page + 1) {
        u64 (*fresh)(u64, u64 *) = (void *)(code[page] + place(page));
        plant(page, next_random() >> 33 | 1, (page * 7 + 3) % PAGES);
        for (i = 0; i < 20000; i++)
            value = fresh(value, data);
    }
    return value;
}
