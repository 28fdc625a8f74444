/*
 * Executes real SSE and x87 instructions with given operands and control word, for comparison with src/x86/softfloat.
 *
 *   fp-oracle --ops     prints the names of the operations, one a line; the line number is the operation's id
 *   fp-oracle           reads cases from standard input until its end and writes one answer for each
 *
 * case:    u32 id, u32 MXCSR or FCW, 16 bytes operand a, 16 bytes operand b
 * answer:  16 bytes result, 16 bytes second result, u32 exception flags or FSW, u32 condition (EFLAGS after COMISS)
 *
 * An unmasked SSE exception arrives as SIGFPE: the handler keeps the flags of that moment, masks everything and lets the
 * instruction run again.  Unmasked x87 exceptions only become pending and are cleared.
 */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ucontext.h>

struct request {
  uint32_t id, control;
  __m128i a, b;
} __attribute__((packed));
struct answer {
  unsigned char value[16], second[16];
  uint32_t flags, condition;
};

static const uint32_t sse_default = 0x1f80;
static volatile uint32_t fault_flags;
static volatile int faulted;

static void on_fpe(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  uint32_t *mxcsr = &((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr;
  fault_flags = *mxcsr & 63;
  faulted = 1;
  *mxcsr |= 0x1f80;
}

typedef void operation(const struct request *q, struct answer *r);

static void put(struct answer *r, __m128i value, uint32_t mxcsr) {
  memcpy(r->value, &value, 16);
  r->flags = faulted ? fault_flags : mxcsr & 63;
}

/* result = a OP b */
#define SSE2(name, instruction)                                                                                        \
  static void name(const struct request *q, struct answer *r) {                                                       \
    __m128i x = q->a, y = q->b;                                                                                       \
    uint32_t control = q->control, after;                                                                             \
    __asm__ volatile("ldmxcsr %2\n\t" instruction "\n\tstmxcsr %1\n\tldmxcsr %4"                                      \
                     : "+x"(x), "=m"(after)                                                                           \
                     : "m"(control), "x"(y), "m"(sse_default));                                                       \
    put(r, x, after);                                                                                                 \
  }
#define BOTH(name, mnemonic) SSE2(name, mnemonic " %3, %0")
#define COMPARE(name, mnemonic)                                                                                       \
  static void name(const struct request *q, struct answer *r) {                                                       \
    __m128i x = q->a, y = q->b;                                                                                       \
    uint32_t control = q->control, after;                                                                             \
    uint64_t eflags;                                                                                                  \
    __asm__ volatile("ldmxcsr %2\n\t" mnemonic " %3, %4\n\tpushfq\n\tpopq %1\n\tstmxcsr %0\n\tldmxcsr %5"             \
                     : "=m"(after), "=r"(eflags)                                                                      \
                     : "m"(control), "x"(y), "x"(x), "m"(sse_default)                                                 \
                     : "cc", "memory");                                                                               \
    put(r, x, after);                                                                                                 \
    r->condition = (uint32_t)eflags & 0x8d5;                                                                          \
  }
#define TO_GPR(name, mnemonic)                                                                                        \
  static void name(const struct request *q, struct answer *r) {                                                       \
    __m128i x = q->a;                                                                                                 \
    uint32_t control = q->control, after;                                                                             \
    uint64_t value = 0;                                                                                               \
    __asm__ volatile("ldmxcsr %2\n\t" mnemonic "\n\tstmxcsr %0\n\tldmxcsr %4"                                         \
                     : "=m"(after), "=r"(value)                                                                       \
                     : "m"(control), "x"(x), "m"(sse_default));                                                       \
    put(r, _mm_set_epi64x(0, (long long)value), after);                                                               \
  }
#define FROM_GPR(name, mnemonic)                                                                                      \
  static void name(const struct request *q, struct answer *r) {                                                       \
    __m128i x = _mm_setzero_si128();                                                                                  \
    uint64_t value = (uint64_t)_mm_cvtsi128_si64(q->a);                                                               \
    uint32_t control = q->control, after;                                                                             \
    __asm__ volatile("ldmxcsr %2\n\t" mnemonic "\n\tstmxcsr %1\n\tldmxcsr %4"                                         \
                     : "+x"(x), "=m"(after)                                                                           \
                     : "m"(control), "r"(value), "m"(sse_default));                                                   \
    put(r, x, after);                                                                                                 \
  }

/* x87: ST(0) = a, ST(1) = b; the result is taken from ST(0) and, when `two`, also from ST(1) */
static const uint16_t x87_default = 0x37f;
#define X87_BODY(instructions, outputs, ...)                                                                          \
  uint16_t control = (uint16_t)q->control, status;                                                                    \
  unsigned char memory[16] = {0};                                                                                     \
  memcpy(memory, &q->b, 16);                                                                                          \
  __asm__ volatile("fninit\n\tfldt 24(%2)\n\tfldt 8(%2)\n\tfnclex\n\tfldcw %3\n\t" instructions                       \
                   "\n\tfnstsw %0\n\tfnclex\n\tfldcw %4\n\t" outputs                                                  \
                   : "=m"(status), "+m"(memory)                                                                       \
                   : "r"(q), "m"(control), "m"(x87_default), "r"(memory), "r"(r)                                      \
                   : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory");                  \
  r->flags = status & 0x477f;
#define X87(name, instructions)                                                                                       \
  static void name(const struct request *q, struct answer *r) {                                                       \
    X87_BODY(instructions, "fstpt (%6)\n\tfstpt 16(%6)\n\tfninit")                                                    \
    memset(r->value + 10, 0, 6), memset(r->second + 10, 0, 6);                                                        \
  }
/* stores ST(0) to memory, popping it */
#define X87_STORE(name, instructions)                                                                                 \
  static void name(const struct request *q, struct answer *r) {                                                       \
    X87_BODY(instructions, "fninit")                                                                                  \
    memcpy(r->value, memory, 16);                                                                                     \
  }
/* loads from memory (operand b) on top */
#define X87_LOAD(name, instructions) X87(name, instructions)

#define SCALAR_AND_PACKED(X)                                                                                          \
  X(addss) X(subss) X(mulss) X(divss) X(minss) X(maxss) X(sqrtss) X(addsd) X(subsd) X(mulsd) X(divsd) X(minsd)        \
  X(maxsd) X(sqrtsd) X(cvtss2sd) X(cvtsd2ss) X(rcpss) X(rsqrtss) X(addps) X(mulps) X(divps) X(sqrtps) X(addpd)        \
  X(divpd) X(cvtps2dq) X(cvttps2dq) X(cvtdq2ps) X(cvtpd2dq) X(cvttpd2dq) X(cvtps2pd) X(cvtpd2ps) X(cvtdq2pd)
#define DEFINE(name) BOTH(do_##name, #name)
SCALAR_AND_PACKED(DEFINE)

#define PREDICATES(X)                                                                                                 \
  X(0, cmpss) X(1, cmpss) X(2, cmpss) X(3, cmpss) X(4, cmpss) X(5, cmpss) X(6, cmpss) X(7, cmpss)                     \
  X(0, cmpsd) X(1, cmpsd) X(2, cmpsd) X(3, cmpsd) X(4, cmpsd) X(5, cmpsd) X(6, cmpsd) X(7, cmpsd)
#define DEFINE_PREDICATE(n, name) SSE2(do_##name##n, #name " $" #n ", %3, %0")
PREDICATES(DEFINE_PREDICATE)

COMPARE(do_comiss, "comiss")
COMPARE(do_ucomiss, "ucomiss")
COMPARE(do_comisd, "comisd")
COMPARE(do_ucomisd, "ucomisd")
TO_GPR(do_cvtss2si32, "cvtss2si %3, %k1")
TO_GPR(do_cvtss2si64, "cvtss2si %3, %q1")
TO_GPR(do_cvttss2si32, "cvttss2si %3, %k1")
TO_GPR(do_cvttss2si64, "cvttss2si %3, %q1")
TO_GPR(do_cvtsd2si32, "cvtsd2si %3, %k1")
TO_GPR(do_cvtsd2si64, "cvtsd2si %3, %q1")
TO_GPR(do_cvttsd2si32, "cvttsd2si %3, %k1")
TO_GPR(do_cvttsd2si64, "cvttsd2si %3, %q1")
FROM_GPR(do_cvtsi32ss, "cvtsi2ssl %k3, %0")
FROM_GPR(do_cvtsi64ss, "cvtsi2ssq %q3, %0")
FROM_GPR(do_cvtsi32sd, "cvtsi2sdl %k3, %0")
FROM_GPR(do_cvtsi64sd, "cvtsi2sdq %q3, %0")
#define GPR_NAMES(X)                                                                                                  \
  X(comiss) X(ucomiss) X(comisd) X(ucomisd) X(cvtss2si32) X(cvtss2si64) X(cvttss2si32) X(cvttss2si64) X(cvtsd2si32)   \
  X(cvtsd2si64) X(cvttsd2si32) X(cvttsd2si64) X(cvtsi32ss) X(cvtsi64ss) X(cvtsi32sd) X(cvtsi64sd)

X87(do_fadd, "fadd %%st(1), %%st")
X87(do_fsub, "fsub %%st(1), %%st")
X87(do_fsubr, "fsubr %%st(1), %%st")
X87(do_fmul, "fmul %%st(1), %%st")
X87(do_fdiv, "fdiv %%st(1), %%st")
X87(do_fdivr, "fdivr %%st(1), %%st")
X87(do_fsqrt, "fsqrt")
X87(do_frndint, "frndint")
X87(do_fscale, "fscale")
X87(do_fprem, "fprem")
X87(do_fprem1, "fprem1")
X87(do_fxtract, "fxtract")
X87(do_f2xm1, "f2xm1")
X87(do_fyl2x, "fyl2x")
X87(do_fyl2xp1, "fyl2xp1")
X87(do_fpatan, "fpatan")
X87(do_fsin, "fsin")
X87(do_fcos, "fcos")
X87(do_fsincos, "fsincos")
X87(do_fptan, "fptan")
X87(do_fcom, "fcom")
X87(do_fucom, "fucom")
X87(do_ftst, "ftst")
X87(do_fxam, "fxam")
X87(do_fadds, "fadds (%5)")
X87(do_faddl, "faddl (%5)")
X87(do_fsubl, "fsubl (%5)")
X87(do_fsubrs, "fsubrs (%5)")
X87(do_fmuls, "fmuls (%5)")
X87(do_fmull, "fmull (%5)")
X87(do_fdivs, "fdivs (%5)")
X87(do_fdivrl, "fdivrl (%5)")
X87(do_fcoms, "fcoms (%5)")
X87(do_fcoml, "fcoml (%5)")
X87_LOAD(do_flds, "flds (%5)")
X87_LOAD(do_fldl, "fldl (%5)")
X87_LOAD(do_fildll, "fildll (%5)")
X87_LOAD(do_fbld, "fbld (%5)")
X87_STORE(do_fstps, "fstps (%5)")
X87_STORE(do_fstpl, "fstpl (%5)")
X87_STORE(do_fistps, "fistps (%5)")
X87_STORE(do_fistpl, "fistpl (%5)")
X87_STORE(do_fistpll, "fistpll (%5)")
X87_STORE(do_fisttps, "fisttps (%5)")
X87_STORE(do_fisttpl, "fisttpl (%5)")
X87_STORE(do_fisttpll, "fisttpll (%5)")
X87_STORE(do_fbstp, "fbstp (%5)")
#define X87_NAMES(X)                                                                                                  \
  X(fadd) X(fsub) X(fsubr) X(fmul) X(fdiv) X(fdivr) X(fsqrt) X(frndint) X(fscale) X(fprem) X(fprem1) X(fxtract)       \
  X(f2xm1) X(fyl2x) X(fyl2xp1) X(fpatan) X(fsin) X(fcos) X(fsincos) X(fptan)                                          \
  X(fcom) X(fucom) X(ftst) X(fxam) X(fadds) X(faddl) X(fsubl) X(fsubrs) X(fmuls) X(fmull) X(fdivs) X(fdivrl) X(fcoms) \
  X(fcoml) X(flds) X(fldl) X(fildll) X(fbld) X(fstps) X(fstpl) X(fistps) X(fistpl) X(fistpll) X(fisttps) X(fisttpl)   \
  X(fisttpll) X(fbstp)

#define ENTRY(name) {#name, do_##name},
#define ENTRY_PREDICATE(n, name) {#name #n, do_##name##n},
static const struct {
  const char *name;
  operation *run;
} table[] = {SCALAR_AND_PACKED(ENTRY) PREDICATES(ENTRY_PREDICATE) GPR_NAMES(ENTRY) X87_NAMES(ENTRY)};

int main(int argc, char **argv) {
  const size_t count = sizeof table / sizeof *table;
  if (argc > 1 && strcmp(argv[1], "--ops") == 0) {
    for (size_t i = 0; i < count; i++) puts(table[i].name);
    return 0;
  }
  struct sigaction action = {.sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO};
  sigaction(SIGFPE, &action, NULL);
  struct request q;
  while (fread(&q, sizeof q, 1, stdin) == 1) {
    struct answer r;
    memset(&r, 0, sizeof r);
    if (q.id >= count) return 1;
    faulted = 0;
    table[q.id].run(&q, &r);
    fwrite(&r, sizeof r, 1, stdout);
  }
  return 0;
}
