/**
 * The aggregation behind PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM vol. 1, 14.14.5 and vol. 2, 4.1): two operands of
 * sixteen bytes or eight words, compared each with each and reduced to one bit an element.
 */

/** Fields of the immediate. */
const WORDS = 1;
const SIGNED = 2;
const AGGREGATION_SHIFT = 2;
const EQUAL_ANY = 0;
const RANGES = 1;
const EQUAL_EACH = 2;
const NEGATIVE = 0x10;
const MASKED = 0x20;

const halves = new BigUint64Array(2);
const VIEWS = [new Uint8Array(halves.buffer), new Uint16Array(halves.buffer)] as const;
const SIGNED_VIEWS = [new Int8Array(halves.buffer), new Int16Array(halves.buffer)] as const;

const U64 = (1n << 64n) - 1n;

/** The elements of `vector` as the immediate says. */
function elements(vector: bigint, imm: number): number[] {
  halves[0] = vector & U64;
  halves[1] = vector >> 64n;
  return [...(imm & SIGNED ? SIGNED_VIEWS : VIEWS)[imm & WORDS ? 1 : 0]];
}

/** Elements of `vector` before its first zero. */
export function stringLength(vector: bigint, imm: number): number {
  const list = elements(vector, imm);
  const end = list.indexOf(0);
  return end < 0 ? list.length : end;
}

/** One bit for each element of `b`: how it relates to the first `lengthA` elements of `a`, by the aggregation of `imm`. */
function aggregate(a: readonly number[], b: readonly number[], lengthA: number, lengthB: number, imm: number): number {
  const size = a.length;
  const kind = (imm >> AGGREGATION_SHIFT) & 3;
  let out = 0;
  for (let j = 0; j < size; j++) {
    let holds = false;
    if (kind === EQUAL_ANY) {
      for (let i = 0; i < lengthA; i++) holds ||= j < lengthB && a[i] === b[j];
    } else if (kind === RANGES) {
      for (let i = 0; i + 1 < lengthA; i += 2) holds ||= j < lengthB && a[i]! <= b[j]! && b[j]! <= a[i + 1]!;
    } else if (kind === EQUAL_EACH) {
      holds = j < lengthA && j < lengthB ? a[j] === b[j] : j >= lengthA && j >= lengthB;
    } else {
      // equal ordered: all of a stands at j, as far as the operand reaches
      holds = true;
      for (let i = 0; i < lengthA && i + j < size; i++) holds &&= i + j < lengthB && a[i] === b[i + j];
    }
    if (holds) out |= 1 << j;
  }
  return out;
}

/** The manual's IntRes2 of the first `lengthA` elements of `a` and the first `lengthB` of `b`; lengths reach to 16 or 8. */
export function compareStrings(a: bigint, b: bigint, lengthA: number, lengthB: number, imm: number): number {
  const first = elements(a, imm);
  const result = aggregate(first, elements(b, imm), lengthA, lengthB, imm);
  if ((imm & NEGATIVE) === 0) return result;
  const turned = imm & MASKED ? lengthB : first.length;
  return result ^ ((1 << turned) - 1);
}
