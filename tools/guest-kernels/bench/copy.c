/* What memcpy, memset and memcmp of a kernel do: string instructions over whole buffers and over short pieces, and a plain loop. */
#include "bench.h"

#define SIZE (1u << 20)
static u64 from[SIZE / 8] PAGE_ALIGNED, to[SIZE / 8] PAGE_ALIGNED;

static inline void copy_words(void *target, const void *source, u64 words)
{
    __asm__ volatile("rep movsq" : "+D"(target), "+S"(source), "+c"(words) : : "memory");
}
static inline void copy_bytes(void *target, const void *source, u64 bytes)
{
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
}
static inline void fill_words(void *target, u64 value, u64 words)
{
    __asm__ volatile("rep stosq" : "+D"(target), "+c"(words) : "a"(value) : "memory");
}
static inline void fill_bytes(void *target, u8 value, u64 bytes)
{
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(value) : "memory");
}
/* Bytes that are the same at the start of both. */
static inline u64 same_bytes(const void *a, const void *b, u64 bytes)
{
    u64 left = bytes;
    u8 equal;
    __asm__ volatile("repe cmpsb; sete %3" : "+D"(a), "+S"(b), "+c"(left), "=r"(equal) : : "memory", "cc");
    return equal ? bytes : bytes - left - 1;
}
static NOINLINE void copy_loop(u64 *target, const u64 *source, u64 words)
{
    u64 i;
    for (i = 0; i < words; i++)
        target[i] = source[i];
}

u64 copy(u64 rounds)
{
    u64 result = 0;
    u32 i;
    for (i = 0; i < SIZE / 8; i++)
        from[i] = next_random();
    for (; rounds; rounds--) {
        /* whole buffers */
        copy_words(to, from, SIZE / 8);
        fill_words(to + rounds % 64, rounds, SIZE / 32);
        copy_loop(to, from, SIZE / 32);
        /* pages, as a fork does; unaligned packets; small structures */
        for (i = 0; i < 64; i++)
            copy_words((u8 *)to + i * PAGE_SIZE, (u8 *)from + (i * 7 & 63) * PAGE_SIZE, PAGE_SIZE / 8);
        for (i = 0; i < 64; i++)
            copy_bytes((u8 *)to + i * 1531, (u8 *)from + i * 1500 + 3, 1460);
        for (i = 0; i < 2000; i++)
            copy_bytes((u8 *)to + i * 40, (u8 *)from + i * 24, 24);
        for (i = 0; i < 200; i++)
            fill_bytes((u8 *)to + i * 300, i, 192);
        result = result * 31 + same_bytes(to, from, 4096) + same_bytes((u8 *)to + SIZE / 2, (u8 *)from + SIZE / 2, 16384);
        result = result * 31 + to[rounds * 977 % (SIZE / 8)];
        from[rounds % (SIZE / 8)] ^= result;
    }
    return result;
}
