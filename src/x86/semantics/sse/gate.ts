/**
 * What every SSE and MMX instruction checks before it does anything (SDM vol. 3A table 2-2 and chapter 12), and the x87
 * state that MMX instructions leave behind (SDM vol. 1, 9.6.2).
 */
import type { Value } from '../../../ir/program.ts';
import { VECTOR } from '../../state.ts';
import { type Context, type Semantics, type SemanticsTable, slotOf } from '../context.ts';

const CR0_EM = 1 << 2;
const CR0_TS = 1 << 3;
/** CR0.NE is bit 5, FSW.ES bit 7. */
const NE_SHIFT = 5;
const ES_SHIFT = 7;
const CR4_OSFXSR = 1 << 9;

/** #UD for CR0.EM, or CR4.OSFXSR clear; #NM for CR0.TS. */
function checkSse(c: Context): void {
  const cr0 = c.b.get32(slotOf('cr0'));
  const disabled = c.op('xor', c.op('and', c.b.get32(slotOf('cr4')), CR4_OSFXSR), CR4_OSFXSR);
  c.b.raiseIf(c.op('or', c.op('and', cr0, CR0_EM), disabled), VECTOR.ud);
  c.b.raiseIf(c.op('and', cr0, CR0_TS), VECTOR.nm);
}

/** #MF when an unmasked x87 exception is pending and CR0.NE reports it. */
function checkPending(c: Context): void {
  const pending = c.op('shr_u', c.low(c.b.get(slotOf('fsw'), 2)), ES_SHIFT);
  const reported = c.op('shr_u', c.b.get32(slotOf('cr0')), NE_SHIFT);
  c.b.raiseIf(c.op('and', c.op('and', pending, reported), 1), VECTOR.mf);
}

/** #UD for CR0.EM, #NM for CR0.TS, #MF for a pending x87 exception. */
function checkMmx(c: Context): void {
  const cr0 = c.b.get32(slotOf('cr0'));
  c.b.raiseIf(c.op('and', cr0, CR0_EM), VECTOR.ud);
  c.b.raiseIf(c.op('and', cr0, CR0_TS), VECTOR.nm);
  checkPending(c);
}

/** Every x87 register valid (EMMS: empty) and the stack's top 0, as any MMX instruction leaves them. */
function enterMmx(c: Context, tags = 0xff): void {
  c.b.set(slotOf('ftags'), 1, c.b.i32(tags));
  c.b.set(slotOf('ftop'), 1, c.b.i32(0));
}

const sse =
  (body: Semantics): Semantics =>
  (c) => {
    checkSse(c);
    body(c);
  };
const mmx =
  (body: Semantics): Semantics =>
  (c) => {
    checkMmx(c);
    body(c);
    enterMmx(c);
  };

const guarded = (table: SemanticsTable, guard: (body: Semantics) => Semantics): SemanticsTable =>
  Object.fromEntries(Object.entries(table).map(([name, body]) => [name, guard(body)]));

/** Instructions on XMM registers. */
export const guardSse = (table: SemanticsTable): SemanticsTable => guarded(table, sse);
/** Instructions on MMX registers. */
export const guardMmx = (table: SemanticsTable): SemanticsTable => guarded(table, mmx);
/** Instructions that exist on MMX registers and, as forms of 16 bytes, on XMM registers. */
export const guardEither = (table: SemanticsTable): SemanticsTable =>
  guarded(table, (body) => (c) => (c.size === 16 ? sse : mmx)(body)(c));
/**
 * Instructions between MMX and XMM registers. #XM leaves the MMX state entered; a source in memory leaves the x87 alone (both
 * measured on AMD family 1Ah, the latter against the manual's CVTPI2PS).
 */
export const guardBoth = (table: SemanticsTable): SemanticsTable =>
  guarded(table, (body) =>
    sse((c) => {
      if (c.form.operands.some((x) => x.file === 'mmx')) {
        checkPending(c);
        enterMmx(c);
      }
      body(c);
    }),
  );
/** EMMS: the checks of MMX, every register empty, the top 0. */
export const emms: Semantics = (c) => {
  checkMmx(c);
  enterMmx(c, 0);
};

/** The whole MMX register of operand `i` from an i64: bits 64 to 79 become ones. */
export function writeMmx(c: Context, i: number, value: Value): void {
  const { place } = c.operand(i);
  c.write(i, value);
  if (place === 'r' || place === 'm') c.b.set({ kind: 'field', field: place, delta: 8 }, 2, c.b.i32(0xffff));
}
