import { describe, expect, test } from 'vitest';
import { readElf } from '../../src/elf/elf.ts';
import { findKallsyms } from '../../src/inspect/kallsyms.ts';
import { FORMATS } from '../../src/inspect/kallsyms-formats.ts';
import { symbolsOfImage, symbolsOfKallsyms } from '../../src/inspect/symbols.ts';
import { ascii, buildElf, concat } from '../support/elf.ts';
import { encodeKallsyms, type LinuxVersion, type ListedSymbol, VERSIONS } from '../support/kallsyms.ts';

const BASE = 0xffffffff81000000n;
/** Where the tables stand; symbols lie below and above them. */
const TABLES = BASE + 0x4000n;
const EVERY = Object.keys(VERSIONS) as LinuxVersion[];
/** Those whose kernels list per-CPU symbols by their offset into the area. */
const PER_CPU: readonly LinuxVersion[] = ['4.4', '4.14', '5.10', '6.1', '6.2', '6.4'];

/**
 * `count` symbols for `version`: per-CPU ones where it has them, then functions 48 bytes apart, of which each seventh has an alias; the third
 * has the longest name in one byte of length, or, where there are two, one that takes both.
 */
function symbolsFor(version: LinuxVersion, count: number): ListedSymbol[] {
  const long = 'x'.repeat(Number.parseFloat(version) >= 6 ? 500 : 127);
  return Array.from({ length: count }, (_, i) => {
    if (i < 2 && PER_CPU.includes(version))
      return { address: BigInt(8 * i), type: 'A', name: `percpu${i}`, isPerCpu: true };
    const address = BASE + BigInt(48 * (i % 7 === 1 ? i - 1 : i));
    return i === 2 ? { address, type: 't', name: long } : { address, type: 'T', name: `f${i}` };
  });
}

/** A run of digits that is no token table, as other tables in a kernel have. */
const NOISE = concat(ascii('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0'), new Uint8Array(1004).fill(0x5a));
const around = (tables: Uint8Array): Uint8Array => concat(NOISE, tables, NOISE);
const imageOf = (version: LinuxVersion, count: number): Uint8Array =>
  around(encodeKallsyms(version, symbolsFor(version, count), TABLES));
const addressOf = (offset: number): bigint => TABLES + BigInt(offset - NOISE.length);

describe('kallsyms', () => {
  test.each(EVERY)('[D-13] finds the tables of Linux %s', (version) => {
    // Counts that leave each number of bytes for alignment, and a last marker of one symbol.
    for (const count of [513, 600, 601, 602, 603, 1024, 1300]) {
      const symbols = symbolsFor(version, count);
      const found = findKallsyms(imageOf(version, count), addressOf);
      expect(found?.names).toEqual(symbols.map(({ name }) => name));
      expect(found?.types).toBe(symbols.map(({ type }) => type).join(''));
      expect([...found!.addresses]).toEqual(symbols.map(({ address }) => address));
    }
  });

  test('[D-13] each row of the table of formats is the only one that reads some version', () => {
    const rows = [...FORMATS];
    const readers = EVERY.map((version) =>
      rows.filter((format) => findKallsyms(imageOf(version, 601), addressOf, [format]) !== null).map((f) => f.since),
    );
    expect(readers.map((found) => found.length)).toEqual(EVERY.map(() => 1));
    expect(new Set(readers.flat())).toEqual(new Set(rows.map(({ since }) => since)));
  });

  test('[D-13] offsets from their own place need the address of the image', () => {
    expect(findKallsyms(imageOf('7.0', 600))).toBeNull();
    const content = imageOf('7.0', 600);
    const elf = buildElf({ segments: [{ vaddr: TABLES - BigInt(NOISE.length), content }] });
    expect(symbolsOfImage(elf).address('f599')).toBe(BASE + 48n * 599n);
  });

  test('[D-13] an image without them has none, a damaged one none or fewer claims than a crash', () => {
    expect(findKallsyms(new Uint8Array(10_000))).toBeNull();
    for (const version of ['4.4', '6.1', '7.0'] as const) {
      const whole = imageOf(version, 600);
      for (let at = 0; at < whole.length; at += 31) {
        const bad = whole.slice();
        bad[at] = bad[at]! ^ 0xff;
        expect(() => findKallsyms(bad, addressOf)).not.toThrow();
      }
      for (let length = 0; length < whole.length; length += 197)
        expect(() => findKallsyms(whole.subarray(0, length), addressOf)).not.toThrow();
    }
  });

  test('[D-13] per-CPU symbols are known by name only', () => {
    const content = imageOf('5.10', 600);
    const symbols = symbolsOfKallsyms(readElf(buildElf({ segments: [{ vaddr: TABLES, content }] })))!;
    expect(symbols.address('percpu1')).toBe(8n);
    expect(symbols.lookup(8n)).toBeNull();
    expect(symbols.lookup(BASE + 48n * 5n + 3n)).toEqual({ name: 'f5', offset: 3 });
  });
});
