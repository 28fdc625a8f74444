/*
 * Calls the C library's logl, sinl, atan2l and expl with random arguments, for comparison of a CPU with this host's.
 *
 * As a program it writes the results to standard output, 16 bytes each: of logl, of sinl, of atan2l, of expl.  Begun at `bare`, with a
 * stack and nothing else, the same code leaves them in the array `results` and halts.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#define COUNT 10000
#define FUNCTIONS 4

long double results[FUNCTIONS][COUNT];

static uint64_t state = 88172645463325252u;
static uint64_t random64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
/* A number with a random significand, at least 2^low and below 2^high, with a sign when `with_sign`. */
static long double number(int low, int high, int with_sign) {
  union {
    long double value;
    struct {
      uint64_t significand;
      uint16_t exponent;
    } parts;
  } x = {0};
  uint64_t choice = random64();
  x.parts.significand = random64() | 1ull << 63;
  x.parts.exponent = (uint16_t)(16383 + low + (int)((choice >> 8) % (unsigned)(high - low))) | (with_sign ? (uint16_t)choice << 15 : 0);
  return x.value;
}

void compute(void) {
  for (int i = 0; i < COUNT; i++) {
    results[0][i] = logl(number(i % 2 ? -1 : -200, i % 2 ? 1 : 200, 0));
    results[1][i] = sinl(number(-20, 40, 1));
    long double y = number(-20, 20, 1);
    results[2][i] = atan2l(y, number(-20, 20, 1));
    results[3][i] = expl(number(-40, 13, 1));
  }
}

/* Where a CPU without an operating system begins: nothing above needs one. */
__asm__(".globl bare\nbare: call compute\n\thlt");

int main(void) {
  compute();
  return fwrite(results, sizeof results, 1, stdout) != 1;
}
