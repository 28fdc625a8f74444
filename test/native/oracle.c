/*
 * The native oracle: `oracle CASES OUTCOMES [SEGMENTS]` runs every case of the first file on the host CPU and writes the
 * second.
 * Record formats and the address space a case sees: oracle.h. Build: gcc -O2 oracle.c -o oracle. Linux on x86-64 only.
 *
 * One signal handler does everything. Each case ends in a signal (breakpoint, trap flag or fault); the handler records the
 * interrupted context as the outcome, rewrites that context into the next case and returns, so that a case costs one signal.
 *
 * Exit status: 0 done, 2 usage or file error, 3 a case hung, 77 the host lacks something (message on stderr).
 */
#define _GNU_SOURCE
#include "oracle.h"
#include <asm/ldt.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CPU_SECONDS 300 /* of a batch, after which a case hangs */
#define WORDS (PAGE / 8)
#define FX_BYTES 416 /* the rest of the legacy area belongs to the kernel's signal frame */
#define FRAME_MAGIC_OFFSET 464
#define FRAME_MAGIC 0x46505853u /* FP_XSTATE_MAGIC1: an XSAVE header follows the legacy area */
#define XSTATE_X87_SSE 3ull

enum { CF_TO_OF = 0x40cd5, TF = 0x100, ALWAYS_ON = 0x202, RF = 0x10000 };
enum { VECTOR_DB = 1, VECTOR_BP = 3, VECTOR_PF = 14 };
enum { SEL_CODE32 = 0x23, SEL_DATA = 0x2b, SEL_CODE64 = 0x33 };
enum { ES, CS, SS, DS, FS, GS };

static const struct case_record *cases;
static struct outcome_record *outcomes;
static long current = -1, total; /* -1: the first signal only starts the batch */
static uint8_t *code_alias;      /* the code page, writable, at another address */
static uint64_t *const data = (uint64_t *)DATA_BASE;
static uint64_t pristine[WORDS], before[WORDS], filled_seed;
static unsigned long host_fs, host_gs;
static const struct segment_record *segments;
static long segment_count;
static sigjmp_buf finished;

static const int gpr_index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void fill(uint64_t *words, uint64_t state) {
  for (int i = 0; i < WORDS; i++) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    words[i] = z ^ (z >> 31);
  }
}

static uint64_t *frame_xstate_bv(uint8_t *fp) {
  uint32_t magic;
  memcpy(&magic, fp + FRAME_MAGIC_OFFSET, 4);
  return magic == FRAME_MAGIC ? (uint64_t *)(fp + 512) : 0;
}

/* The index of a segment register in a case of MODE_PROT32 and MODE_PROT16. */
static unsigned segment_index(const struct case_record *c, int segment) { return c->fs_base >> (segment * 8) & 0xff; }
static unsigned selector_of(const struct case_record *c, int segment) {
  unsigned index = segment_index(c, segment);
  return index == 0 ? 0 : index == 255 ? (segment == CS ? SEL_CODE32 : SEL_DATA) : (index - 1) << 3 | 7;
}
/* What is taken from linear addresses to give RIP. */
static uint64_t code_base(const struct case_record *c) {
  unsigned index = c->mode >= MODE_PROT32 ? segment_index(c, CS) : 255;
  return index == 255 ? 0 : segments[index - 1].base;
}

__attribute__((optimize("no-stack-protector"))) static void load(ucontext_t *context) {
  const struct case_record *c = &cases[current];
  greg_t *regs = context->uc_mcontext.gregs;
  if (c->memory_seed != filled_seed) {
    fill(pristine, filled_seed = c->memory_seed);
    memcpy(before, pristine, PAGE);
    memcpy(data, pristine, PAGE);
  }
  memcpy((uint8_t *)before + c->poke_offset, c->poke, c->poke_length);
  memcpy((uint8_t *)data + c->poke_offset, c->poke, c->poke_length);
  for (unsigned i = 0; i < c->code_length && c->code_offset + i < PAGE; i++) code_alias[c->code_offset + i] = c->code[i];
  for (int i = 0; i < 16; i++) regs[gpr_index[i]] = c->gpr[i];
  regs[REG_RIP] = CODE_BASE + c->code_offset - code_base(c);
  regs[REG_EFL] = (c->rflags & CF_TO_OF) | ALWAYS_ON | (c->flags & CASE_STEP ? TF : 0);
  uint64_t cs = c->mode == MODE_COMPAT ? SEL_CODE32 : SEL_CODE64;
  uint64_t ss = SEL_DATA;
  if (c->mode >= MODE_PROT32) cs = selector_of(c, CS), ss = selector_of(c, SS);
  regs[REG_CSGSFS] = (regs[REG_CSGSFS] & 0x0000ffffffff0000ull) | cs | ss << 48;
  if (c->flags & CASE_FP) {
    uint8_t *fp = (uint8_t *)context->uc_mcontext.fpregs;
    uint64_t *bv = frame_xstate_bv(fp);
    memcpy(fp, c->fxsave, FX_BYTES);
    if (bv) *bv = XSTATE_X87_SSE;
  }
  static int loaded;
  if (c->mode >= MODE_PROT32 || loaded) {
    loaded = c->mode >= MODE_PROT32;
    unsigned es = loaded ? selector_of(c, ES) : SEL_DATA, ds = loaded ? selector_of(c, DS) : SEL_DATA;
    unsigned fs = loaded ? selector_of(c, FS) : SEL_DATA, gs = loaded ? selector_of(c, GS) : SEL_DATA;
    asm volatile("mov %0, %%es\n mov %1, %%ds\n mov %2, %%gs\n mov %3, %%fs" ::"r"(es), "r"(ds), "r"(gs), "r"(fs));
    if (loaded) return;
  }
  asm volatile("wrgsbase %0" ::"r"(c->gs_base));
  asm volatile("wrfsbase %0" ::"r"(c->fs_base));
}

static void save(const ucontext_t *context, int signal) {
  const struct case_record *c = &cases[current];
  struct outcome_record *o = &outcomes[current];
  const greg_t *regs = context->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) o->gpr[i] = regs[gpr_index[i]];
  /* the kernel returns to a 16-bit stack through one of its own: bits 63:32 of RSP are left over from it */
  if (c->mode >= MODE_PROT32) o->gpr[4] = (uint32_t)o->gpr[4];
  o->rip = regs[REG_RIP];
  o->rflags = regs[REG_EFL] & ~(uint64_t)(RF | (c->flags & CASE_STEP ? TF : 0));
  o->vector = regs[REG_TRAPNO];
  o->signal = signal;
  o->error = regs[REG_ERR];
  o->cr2 = o->vector == VECTOR_PF ? regs[REG_CR2] : 0;
  if (c->flags & CASE_STEP ? o->vector == VECTOR_DB
                           : o->vector == VECTOR_BP && o->rip == CODE_BASE - code_base(c) + c->code_offset + c->code_length + 1) {
    o->rip -= c->flags & CASE_STEP ? 0 : 1;
    o->vector = VECTOR_NONE;
    o->signal = o->error = 0;
  }
  for (int i = 0; i < WORDS; i++) {
    if (__builtin_expect(data[i] == before[i], 1)) continue;
    if (o->changes < CHANGES_MAX) {
      o->change_offset[o->changes] = i * 8;
      o->change_value[o->changes] = data[i];
    }
    o->changes++;
    data[i] = before[i];
  }
  memcpy((uint8_t *)before + c->poke_offset, (uint8_t *)pristine + c->poke_offset, c->poke_length);
  memcpy((uint8_t *)data + c->poke_offset, (uint8_t *)pristine + c->poke_offset, c->poke_length);
  memset(code_alias + c->code_offset, 0xcc, c->code_offset + c->code_length > PAGE ? PAGE - c->code_offset : c->code_length);
  if (c->flags & CASE_FP) memcpy(o->fxsave, context->uc_mcontext.fpregs, FX_BYTES);
  o->done = 1;
}

/* Until FS is the host's again nothing here may touch thread-local storage; NT, AC and ID may be left over from a POPF. */
__attribute__((optimize("no-stack-protector"))) static void on_signal(int signal, siginfo_t *info, void *context) {
  asm volatile("wrfsbase %0" ::"r"(host_fs));
  asm volatile("wrgsbase %0" ::"r"(host_gs));
  asm volatile("pushfq\n andl $0xffdbbfff, (%%rsp)\n popfq" ::: "cc", "memory");
  (void)info;
  if (signal == SIGPROF) _exit(3);
  if (current >= 0) save(context, signal);
  if (++current >= total) siglongjmp(finished, 1);
  load(context);
}

static void *map_file(const char *path, int flags, size_t *length, int protection) {
  int fd = open(path, flags, 0644);
  struct stat status;
  if (fd < 0 || (flags & O_CREAT && ftruncate(fd, *length)) || fstat(fd, &status)) return 0;
  *length = status.st_size;
  void *at = mmap(0, *length, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
  return at == MAP_FAILED ? 0 : at;
}

static void *map_page(uint64_t at, int protection, int fd) {
  void *page = mmap((void *)at, PAGE, protection,
                    (at ? MAP_FIXED_NOREPLACE : 0) | MAP_POPULATE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
  return page == MAP_FAILED ? 0 : page;
}

static int build_address_space(void) {
  int fd = memfd_create("code", 0);
  if (fd < 0 || ftruncate(fd, PAGE)) return 0;
  code_alias = map_page(0, PROT_READ | PROT_WRITE, fd);
  void *read_only = map_page(RO_BASE, PROT_READ | PROT_WRITE, -1);
  if (!code_alias || !read_only || !map_page(DATA_BASE, PROT_READ | PROT_WRITE, -1) ||
      !map_page(CODE_BASE, PROT_READ | PROT_EXEC, fd))
    return 0;
  memset(code_alias, 0xcc, PAGE);
  fill(read_only, RO_SEED);
  fill(pristine, filled_seed = 0);
  memcpy(before, pristine, PAGE);
  memcpy(data, pristine, PAGE);
  return !mprotect(read_only, PAGE, PROT_READ);
}

/* Puts the table into the LDT. */
static int install_segments(void) {
  for (long i = 0; i < segment_count; i++) {
    const struct segment_record *s = &segments[i];
    struct user_desc d = {.entry_number = i, .base_addr = s->base, .limit = s->limit};
    d.seg_32bit = !!(s->flags & SEGMENT_BIG);
    d.contents = (s->flags & SEGMENT_DOWN ? 1 : 0) | (s->flags & SEGMENT_CODE ? 2 : 0);
    d.read_exec_only = !!(s->flags & SEGMENT_NO_ACCESS);
    d.limit_in_pages = !!(s->flags & SEGMENT_PAGES);
    if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d)) return 0;
  }
  return 1;
}

/* What the host lacks for cases with the segments in `path` (null: without any), or null. */
static const char *missing(const char *path) {
  size_t length = 0;
  if (!(getauxval(AT_HWCAP2) & 2)) return "the kernel does not allow WRFSBASE";
  if (path) {
    segments = map_file(path, O_RDONLY, &length, PROT_READ);
    if (!segments) return "the segments cannot be read";
    segment_count = length / sizeof *segments;
    if (!install_segments()) return "the kernel has no LDT";
  }
  return build_address_space() ? 0 : "the fixed addresses are taken";
}

int main(int argc, char **argv) {
  int asked = argc >= 2 && !strcmp(argv[1], "--missing");
  if (asked ? argc > 3 : argc < 3 || argc > 4)
    return fprintf(stderr, "usage: oracle CASES OUTCOMES [SEGMENTS] | oracle --missing [SEGMENTS]\n"), 2;
  const char *lacks = missing(argc == (asked ? 3 : 4) ? argv[argc - 1] : 0);
  if (lacks) return fprintf(stderr, "%s\n", lacks), 77;
  if (asked) return 0;
  size_t length = 0;
  cases = map_file(argv[1], O_RDONLY, &length, PROT_READ);
  if (!cases) return perror(argv[1]), 2;
  total = length / sizeof *cases;
  length = total * sizeof *outcomes;
  outcomes = map_file(argv[2], O_RDWR | O_CREAT | O_TRUNC, &length, PROT_READ | PROT_WRITE);
  if (!outcomes) return perror(argv[2]), 2;

  static uint8_t stack[1 << 18];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, 0);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGPROF};
  for (int i = 0; i < 6; i++) sigaction(signals[i], &action, 0);
  /* a case that does not end: CPU time, which other load does not take */
  setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = CPU_SECONDS}, 0);

  asm volatile("mov %0, %%ds\n mov %0, %%es" ::"r"(SEL_DATA));
  asm volatile("rdfsbase %0" : "=r"(host_fs));
  asm volatile("rdgsbase %0" : "=r"(host_gs));
  asm volatile("mov %0, %%fs\n mov %0, %%gs\n wrfsbase %1\n wrgsbase %2" ::"r"(SEL_DATA), "r"(host_fs), "r"(host_gs));
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  if (!sigsetjmp(finished, 0)) asm volatile("int3" ::: "memory");
  clock_gettime(CLOCK_MONOTONIC, &end);
  printf("%ld %.6f\n", total, end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) * 1e-9);
  return 0;
}
