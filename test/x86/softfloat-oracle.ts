/**
 * The host processor as oracle for src/x86/softfloat: builds test/native/fp-oracle.c, makes interesting operands from
 * a fixed seed, and lists every disagreement.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Format } from '../../src/x86/softfloat/format.ts';

/** Cases of one operation; SOFTFLOAT_CASES=200000 makes the long run. */
export const CASES = Number(process.env.SOFTFLOAT_CASES ?? 1500);

/** What the processor answered: see fp-oracle.c. */
export interface Answer {
  value: bigint;
  second: bigint;
  flags: number;
  condition: number;
}
/** One case; `control` is MXCSR or FCW. */
export interface Case {
  a: bigint;
  b: bigint;
  control: number;
}

/** The compiled oracle. */
export interface Oracle {
  run(name: string, cases: readonly Case[]): Answer[];
}

/** Builds the oracle; undefined when the host is not an x86-64 with a C compiler. */
export function buildOracle(): Oracle | undefined {
  if (process.arch !== 'x64') return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'fp-oracle-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const binary = join(folder, 'fp-oracle');
  const source = join(import.meta.dirname, '../native/fp-oracle.c');
  const built = spawnSync('gcc', ['-O1', '-mno-red-zone', '-o', binary, source], { encoding: 'utf8' });
  if (built.error) return undefined;
  if (built.status !== 0) throw new Error(`fp-oracle.c does not compile:\n${built.stderr}`);
  const names = execFileSync(binary, ['--ops'], { encoding: 'utf8' }).trim().split('\n');
  return {
    run(name, cases) {
      const id = names.indexOf(name);
      if (id < 0) throw new Error(`the oracle has no operation ${name}`);
      const input = new DataView(new ArrayBuffer(cases.length * 40));
      cases.forEach((c, i) => {
        input.setUint32(i * 40, id, true);
        input.setUint32(i * 40 + 4, c.control, true);
        put128(input, i * 40 + 8, c.a);
        put128(input, i * 40 + 24, c.b);
      });
      const done = spawnSync(binary, [], { input: new Uint8Array(input.buffer), maxBuffer: 2 ** 30 });
      const out = new DataView(done.stdout.buffer, done.stdout.byteOffset, done.stdout.byteLength);
      if (done.status !== 0 || out.byteLength !== cases.length * 40)
        throw new Error(`the oracle stopped in ${name}: ${done.signal ?? done.status}`);
      return cases.map((_, i) => ({
        value: get128(out, i * 40),
        second: get128(out, i * 40 + 16),
        flags: out.getUint32(i * 40 + 32, true),
        condition: out.getUint32(i * 40 + 36, true),
      }));
    },
  };
}

const put128 = (view: DataView, at: number, value: bigint): void => {
  view.setBigUint64(at, BigInt.asUintN(64, value), true);
  view.setBigUint64(at + 8, BigInt.asUintN(64, value >> 64n), true);
};
const get128 = (view: DataView, at: number): bigint =>
  view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);

/** A generator of operands: a 32-bit xorshift, the same in every run. */
export class Operands {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 1;
  }
  bits(count: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % 2 ** count;
  }
  below(limit: number): number {
    return (this.bits(30) ^ this.bits(31)) % limit;
  }
  wide(bits: number): bigint {
    let n = 0n;
    for (let i = 0; i < bits; i += 16) n = (n << 16n) | BigInt(this.bits(20) >> 4);
    return BigInt.asUintN(bits, n);
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** A significand's low `bits`: random, sparse, or close to a carry. */
  fraction(bits: number): bigint {
    const all = (1n << BigInt(bits)) - 1n;
    const low = BigInt(this.below(bits + 1));
    switch (this.below(8)) {
      case 0:
        return 0n;
      case 1:
        return all;
      case 2:
        return all & (all << low);
      case 3:
        return all >> low;
      case 4:
        return (1n << low) & all;
      case 5:
        return ((this.wide(bits) << low) | BigInt(this.below(2))) & all;
      default:
        return this.wide(bits);
    }
  }

  /** A biased exponent, mostly near a limit of this or a narrower format. */
  exponent(format: Format): number {
    const near = (middle: number, spread: number): number => middle + this.below(2 * spread + 1) - spread;
    const { bias, specialExponent: special, significandBits: p } = format;
    const limits = [127, -126, -149, 1023, -1022, -1074].filter((e) => Math.abs(e) < bias);
    const pick = [
      () => this.below(special + 1),
      () => near(bias, 3),
      () => near(bias, 70),
      () => near(1, p + 2),
      () => near(special, 3),
      () => near(bias + (bias >> 1), p + 2),
      () => near(bias - (bias >> 1), p + 2),
      () => bias + limits[this.below(limits.length)]! + this.below(7) - 3,
      () => 0,
    ];
    return Math.min(special, Math.max(0, pick[this.below(limits.length > 0 ? 9 : 7)]!()));
  }

  /** A pattern of `format`. */
  value(format: Format): bigint {
    const sign = BigInt(this.below(2)) << format.signShift;
    const kind = this.below(100);
    const special = BigInt(format.specialExponent) << format.exponentShift;
    const explicit = format.explicitInteger ? format.integerBit : 0n;
    if (kind < 4) return sign;
    if (kind < 8) return sign | special | explicit;
    if (kind < 12) return sign | special | explicit | this.fraction(format.fractionBits);
    const exponent = BigInt(this.exponent(format)) << format.exponentShift;
    const integer = exponent === 0n ? (kind < 15 ? explicit : 0n) : kind < 15 ? 0n : explicit;
    return sign | exponent | integer | this.fraction(format.fractionBits);
  }

  /** A second operand: independent, or close to `a` so that they cancel, tie or compare equal. */
  related(format: Format, a: bigint): bigint {
    if (this.chance(65)) return this.value(format);
    const flip = BigInt(this.below(2)) << format.signShift;
    const mask = (1n << BigInt(format.width)) - 1n;
    switch (this.below(3)) {
      case 0:
        return a ^ flip;
      case 1:
        return (a ^ flip ^ BigInt(this.below(8))) & mask;
      default: {
        const distance = BigInt(this.below(2 * format.significandBits + 4) - format.significandBits - 2);
        const exponent = BigInt.asUintN(format.exponentBits, (a >> format.exponentShift) + distance);
        const keep = a & ((1n << format.exponentShift) - 1n);
        const low = this.chance(50) ? keep : (keep & ~format.fractionMask) | this.fraction(format.fractionBits);
        return ((a & (1n << format.signShift)) ^ flip) | (exponent << format.exponentShift) | low;
      }
    }
  }

  /** An integer of 64 bits with any length. */
  integer(): bigint {
    const n = this.fraction(64) >> BigInt(this.below(64));
    return BigInt.asUintN(64, this.chance(50) ? -n : n);
  }

  /** Exceptions to mask: usually all. */
  masks(): number {
    return this.chance(70) ? 63 : this.bits(16) >> 10;
  }
  mxcsr(): number {
    return (this.masks() << 7) | (this.below(4) << 13) | (this.below(2) << 6) | (this.below(2) << 15);
  }
  fcw(): number {
    return 0x40 | this.masks() | ([0, 2, 3, 3][this.below(4)]! << 8) | (this.below(4) << 10);
  }
}

/** `n` in hexadecimal for messages. */
export const hex = (n: bigint | number): string => `0x${n.toString(16)}`;

/**
 * Runs `cases` on the processor and on `model`, and describes the first disagreements; `model` gives undefined for
 * what is not compared.
 */
export function disagreements(
  oracle: Oracle,
  name: string,
  cases: readonly Case[],
  model: (c: Case, real: Answer) => string | undefined,
): string[] {
  const answers = oracle.run(name, cases);
  const wrong: string[] = [];
  cases.forEach((c, i) => {
    const problem = model(c, answers[i]!);
    if (problem !== undefined) wrong.push(`${name} a=${hex(c.a)} b=${hex(c.b)} control=${hex(c.control)}: ${problem}`);
  });
  return wrong.length > 0 ? [`${wrong.length} of ${cases.length} differ`, ...wrong.slice(0, 8)] : [];
}
