/* Five kernels of integer code, each a kind of work that translators find hard in its own way. */
#include "bench.h"

/* ---- sieve: byte stores with a stride, tight loops ---------------------------------------------------------------------------------- */

#define SIEVE_SIZE (1u << 20)
static u8 candidate[SIEVE_SIZE];

static NOINLINE u32 count_primes(u32 limit)
{
    u32 count = 0, i, multiple;
    for (i = 0; i < limit; i++)
        candidate[i] = 1;
    for (i = 2; i < limit; i++) {
        if (!candidate[i])
            continue;
        count++;
        for (multiple = 2 * i; multiple < limit; multiple += i)
            candidate[multiple] = 0;
    }
    return count;
}
u64 sieve(u64 rounds)
{
    u64 result = 0;
    while (rounds--)
        result = result * 31 + count_primes(SIEVE_SIZE);
    return result;
}

/* ---- hash: a table-driven CRC-32 and the compression function of SHA-256 with a constant for its table ------------------------------- */

#define TEXT_SIZE (1u << 16)
static u8 text[TEXT_SIZE];
static u32 crc_table[256];
static u32 digest[8];

static void fill_crc_table(void)
{
    u32 byte, value, bit;
    for (byte = 0; byte < 256; byte++) {
        value = byte;
        for (bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
        crc_table[byte] = value;
    }
}
static NOINLINE u32 crc32(const u8 *data, u32 length, u32 crc)
{
    u32 i;
    for (i = 0; i < length; i++)
        crc = crc_table[(u8)(crc ^ data[i])] ^ crc >> 8;
    return ~crc;
}
static inline u32 rotate(u32 value, u32 count)
{
    return value >> count | value << (32 - count);
}
static NOINLINE void compress(const u32 *block, u32 blocks)
{
    static u32 w[64];
    u32 s[8], i;
    for (i = 0; i < 8; i++)
        s[i] = digest[i];
    for (; blocks; blocks--, block += 16) {
        for (i = 0; i < 16; i++)
            w[i] = block[i];
        for (; i < 64; i++) {
            u32 a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        for (i = 0; i < 64; i++) {
            u32 sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25), choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
            u32 sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
            u32 majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            u32 first = s[7] + sum1 + choice + 0x9e3779b9u * i + w[i], second = sum0 + majority;
            s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + first;
            s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = first + second;
        }
    }
    for (i = 0; i < 8; i++)
        digest[i] += s[i];
}
u64 hash(u64 rounds)
{
    u64 result = 0;
    u32 i;
    fill_crc_table();
    for (i = 0; i < TEXT_SIZE; i++)
        text[i] = i * 7 + (i >> 8);
    for (i = 0; i < 8; i++)
        digest[i] = 0x6a09e667u * (i + 1);
    while (rounds--) {
        for (i = 0; i < 3; i++)
            result = result * 31 + crc32(text, TEXT_SIZE, result);
        compress((const u32 *)text, TEXT_SIZE / 64);
    }
    for (i = 0; i < 8; i++)
        result = result * 31 + digest[i];
    return result;
}

/* ---- chase: dependent loads over 4 MiB, a new page every time ------------------------------------------------------------------------ */

#define CHAIN (1u << 20)
static u32 successor[CHAIN];

/* A random permutation, by Fisher and Yates. */
static NOINLINE void make_chain(void)
{
    u32 i, j, t;
    for (i = 0; i < CHAIN; i++)
        successor[i] = i;
    for (i = CHAIN - 1; i > 0; i--) {
        j = (next_random() >> 32) * (i + 1) >> 32;
        t = successor[i], successor[i] = successor[j], successor[j] = t;
    }
}
static NOINLINE u64 follow(u32 steps)
{
    u64 sum = 0;
    u32 at = 0;
    while (steps--) {
        at = successor[at];
        sum = sum * 6364136223846793005UL + at;
    }
    return sum;
}
u64 chase(u64 rounds)
{
    u64 result = 0;
    make_chain();
    while (rounds--) {
        /* QEMU lets its TLB grow at flushes alone; without any it would look slower than it is under an operating system */
        flush_translations();
        result = result * 31 + follow(1000000);
    }
    return result;
}

/* ---- calls: deep recursion, indirect calls that cannot be predicted ------------------------------------------------------------------ */

static NOINLINE u32 fibonacci(u32 n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
static NOINLINE u64 add(u64 a, u64 b) { return a + b; }
static NOINLINE u64 mix(u64 a, u64 b) { return a ^ b << 1; }
static NOINLINE u64 take(u64 a, u64 b) { return a - b * 3; }
static NOINLINE u64 turn(u64 a, u64 b) { return a >> 3 | b << 61; }
static u64 (*volatile operation[4])(u64, u64) = { add, mix, take, turn };

static NOINLINE u64 call_around(u32 count)
{
    u64 value = 1;
    u32 i;
    for (i = 0; i < count; i++)
        value = operation[(value ^ i) & 3](value, i);
    return value;
}
u64 calls(u64 rounds)
{
    u64 result = 0;
    while (rounds--)
        result = result * 31 + fibonacci(25) + call_around(1000000);
    return result;
}

/* ---- bytecode: an interpreter, one switch in a loop ----------------------------------------------------------------------------------- */

static u8 program[256];

static NOINLINE u64 interpret(u32 steps)
{
    u64 r[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, sum = 0;
    u32 pc = 0, step, i;
    for (step = 0; step < steps; step++) {
        u8 code = program[pc & 255];
        u32 a = code >> 3 & 7, b = code & 7;
        pc++;
        switch ((code ^ pc) % 9) {
        case 0: r[a] += r[b]; break;
        case 1: r[a] -= r[b]; break;
        case 2: r[a] ^= r[b] >> 5; break;
        case 3: r[a] *= r[b] | 1; break;
        case 4: if (r[a] & 1) pc += b; break;
        case 5: r[b] = (u32)r[a]; break;
        case 6: r[a] = r[a] << 9 | r[a] >> 55; break;
        case 7: if ((long)r[a] < (long)r[b]) pc += 3; break;
        default: r[a] = ~r[b] + step;
        }
    }
    for (i = 0; i < 8; i++)
        sum = sum * 31 + r[i];
    return sum;
}
u64 bytecode(u64 rounds)
{
    u64 result = 0;
    u32 i;
    for (i = 0; i < 256; i++)
        program[i] = i * 37 + 11;
    while (rounds--)
        result = result * 31 + interpret(1000000);
    return result;
}
