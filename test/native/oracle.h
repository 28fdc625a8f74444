/*
 * Record formats of the native oracle: it runs each case on the host's own CPU and records the state that results.
 *
 * A batch is a file of `struct case_record`; the answer is a file of as many `struct outcome_record`, in order. Both are
 * little-endian, without padding. test/native/records.ts mirrors the offsets and a test compares them.
 *
 * What a case sees:
 *
 *   CODE_BASE  one page, readable and executable; the instruction bytes at code_offset, INT3 everywhere else; bytes past the
 *              page's end are dropped, and the pages on both sides are not present, so that a fetch can fault
 *   DATA_BASE  one page, readable and writable: 512 words of splitmix64 from memory_seed, then poke_length bytes of `poke`
 *              over them at poke_offset
 *   RO_BASE    the page after it, read-only: 512 words of splitmix64 from RO_SEED
 *   everything else below 4 GiB is not present
 *
 * CS is 0x33 in 64-bit mode and 0x23 in compatibility mode; DS, ES, SS, FS and GS hold 0x2b, flat, with the bases of FS and
 * GS replaced by fs_base and gs_base. The process runs at CPL 3 with IOPL 0, CR0.AM, CR0.NE, CR4.OSFXSR, CR4.OSXMMEXCPT set.
 */
#pragma once
#include <stdint.h>

#define CODE_BASE 0x10000000ull
#define DATA_BASE 0x20000000ull
#define RO_BASE 0x20001000ull
#define PAGE 4096
#define RO_SEED 0x5eedull
#define CHANGES_MAX 68

/* case_record.mode */
enum { MODE_64 = 0, MODE_COMPAT = 1, MODE_PROT32 = 2, MODE_PROT16 = 3 };
/*
 * MODE_PROT32 and MODE_PROT16: 32-bit and 16-bit code under segments of a table that the third argument names, installed in the LDT: an array of
 * `struct segment_record`. fs_base then holds six bytes, for ES CS SS DS FS GS: 0 a null selector, 1..254 the entry of that
 * number less one, 255 the flat segments above. Code runs at the linear addresses below; RIP is relative to the base of CS.
 */
struct segment_record {
  uint32_t base, limit;    /* limit: the descriptor's 20 bits */
  uint32_t flags;          /* SEGMENT_* */
};
enum { SEGMENT_BIG = 1, SEGMENT_DOWN = 2, SEGMENT_CODE = 4, SEGMENT_NO_ACCESS = 8, SEGMENT_PAGES = 16 };
/*
 * case_record.flags. CASE_STEP ends the case by the trap flag after one instruction (control transfers); without it the case
 * ends at the INT3 behind the code (REP runs to its end, PUSHF pushes no TF). CASE_FP loads and records the FXSAVE image.
 */
enum { CASE_STEP = 1, CASE_FP = 2 };

struct case_record {
  uint64_t gpr[16];        /* RAX RCX RDX RBX RSP RBP RSI RDI R8..R15: the manual's register numbers */
  uint64_t rflags;         /* only CF PF AF ZF SF DF OF AC are taken; IF and bit 1 are set */
  uint64_t memory_seed;
  uint64_t fs_base, gs_base;
  uint8_t mode, flags, code_length, poke_length;
  uint16_t code_offset, poke_offset;
  uint32_t tag, reserved;  /* tag: the caller's form number; not read here */
  uint8_t code[32];
  uint8_t poke[32];
  uint8_t fxsave[512];     /* FXSAVE64 layout (SDM vol. 1, 10.5.1); only the first 416 bytes are used */
};

/* outcome_record.vector of a case that ran to its end */
#define VECTOR_NONE 0xff

struct outcome_record {
  uint64_t gpr[16];
  uint64_t rip;            /* of the next instruction, or of the faulting one */
  uint64_t rflags;         /* without RF, and without TF when CASE_STEP set it */
  uint64_t cr2;            /* of a #PF, else 0 */
  uint32_t error;          /* error code of an exception */
  uint8_t vector, signal;  /* exception vector or VECTOR_NONE; the Linux signal that reported it */
  uint16_t changes;        /* words of the data page that changed; may exceed CHANGES_MAX, then the rest is lost */
  uint8_t done, reserved[7];
  uint16_t change_offset[CHANGES_MAX]; /* byte offsets from DATA_BASE, multiples of 8, ascending */
  uint64_t change_value[CHANGES_MAX];  /* the whole word afterwards */
  uint8_t fxsave[512];     /* as above; 0 without CASE_FP */
};

_Static_assert(sizeof(struct case_record) == 752, "case_record");
_Static_assert(sizeof(struct outcome_record) == 1360, "outcome_record");
