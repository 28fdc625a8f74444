/* What the benchmark kernels share. Each takes a number of rounds and returns a value that depends on everything it did. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define PAGE_SIZE 4096UL
/* Neither inlined nor looked into: equal calls in a row would be made once. */
#define NOINLINE __attribute__((noipa))
#define PAGE_ALIGNED __attribute__((aligned(4096)))

u64 sieve(u64 rounds);
u64 hash(u64 rounds);
u64 chase(u64 rounds);
u64 calls(u64 rounds);
u64 bytecode(u64 rounds);
u64 scattered200(u64 rounds);
u64 scattered2000(u64 rounds);
u64 newcode(u64 rounds);
u64 sse2(u64 rounds);
u64 copy(u64 rounds);

/* A stream of numbers without a pattern (xorshift64), the same in every run. */
u64 next_random(void);

/* Drops all translations of the TLB, as switching to another address space does. */
void flush_translations(void);
