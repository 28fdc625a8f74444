/**
 * Images that differ from good ones in a few places: each is built or refused in an orderly way, and what it makes the loader do
 * stays within what the good one does. IMAGE_FUZZ_CASES and IMAGE_FUZZ_SEED ask for more and for others.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inflate } from '../../../src/cli/local/inflate.ts';
import { EmulatorError } from '../../../src/core/errors.ts';
import { symbolsOfImage } from '../../../src/inspect/symbols.ts';
import { buildPvMachine } from '../../../src/machine/xen-pv/build.ts';
import { unpackBzip2 } from '../../../src/xen/loader/bzip2.ts';
import { readXenImage } from '../../../src/xen/loader/image.ts';
import { planLayout } from '../../../src/xen/loader/layout.ts';
import { unpackLzmaAlone } from '../../../src/xen/loader/lzma-alone.ts';
import { moduleLength, unpackKernel, unpackModule } from '../../../src/xen/loader/payload.ts';
import { unpackXz } from '../../../src/xen/loader/xz.ts';
import { buildElf, concat, pvNotes, xenNote } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';
import { failingBoot } from '../../support/time-travel.ts';
import { bzImage, lz4Literals, sized } from './bz-image.ts';
import { BZIP2_FIXTURE, LZMA_FIXTURE } from './packed-fixtures.ts';
import { XZ_FIXTURES } from './xz-fixtures.ts';

const CASES = Number(process.env.IMAGE_FUZZ_CASES ?? 1500);
const SEED = Number(process.env.IMAGE_FUZZ_SEED ?? 1);
/** CPU seconds that a case may take: a good one takes a hundredth. */
const CPU_SECONDS_A_CASE = 1;
const ORDERLY = new Set(['E_IMAGE', 'E_MEMORY', 'E_PLATFORM']);
const PAGES = 4096;

/** Random numbers from a seed: xorshift32. */
class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2654435761) | 1;
  }
  /** From 0 up to but not including `bound`. */
  below(bound: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % bound;
  }
  pick = <T>(values: readonly T[]): T => values[this.below(values.length)]!;
}

const EDGES = [0n, 1n, 0xfffn, 0x1000n, 0xffffn, 0xffff_ffffn, 1n << 32n, 1n << 47n, (1n << 53n) + 1n];
const FAR_EDGES = [
  0xffff_8000_0000_0000n,
  0xffff_8800_0000_0000n,
  0xffff_ffff_8000_0000n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

/** `good` with one to four changes among the first `reach` bytes: a bit, a byte, a number at the edge of something, a cut. */
function mutated(good: Uint8Array, reach: number, random: Random): Uint8Array {
  const bytes = good.slice();
  const view = new DataView(bytes.buffer);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const at = random.below(Math.min(reach, bytes.length - 8));
    const kind = random.below(8);
    if (kind < 2) bytes[at]! ^= 1 << random.below(8);
    else if (kind < 4) bytes[at] = random.below(256);
    else if (kind < 6) view.setBigUint64(at & ~7, random.pick([...EDGES, ...FAR_EDGES]), true);
    else if (kind === 6) view.setUint32(at & ~3, Number(BigInt.asUintN(32, random.pick(EDGES))), true);
    else view.setUint16(at & ~1, random.pick([0, 1, 0x7fff, 0xffff]), true);
  }
  return random.below(16) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

/** Runs `work` on each mutated case; what it throws must be orderly. Returns how many cases threw nothing. */
function fuzz(name: string, good: Uint8Array, reach: number, work: (bytes: Uint8Array) => void, cases = CASES): number {
  let accepted = 0;
  for (let i = 0; i < cases; i++) {
    const bytes = mutated(good, reach, new Random(SEED * 1_000_003 + i));
    const before = process.cpuUsage();
    try {
      work(bytes);
      accepted++;
    } catch (error) {
      if (!(error instanceof EmulatorError) || !ORDERLY.has(error.code))
        throw new Error(`${name}, seed ${SEED}, case ${i}: ${(error as Error).stack}`, { cause: error });
    }
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6, `${name}, seed ${SEED}, case ${i}`).toBeLessThan(CPU_SECONDS_A_CASE);
  }
  return accepted;
}

const kernel = failingBoot().images.kernel!;
const timeTravel = new Uint8Array(
  readFileSync(join(resolve(import.meta.dirname, '../../../tools/guest-kernels'), 'time-travel/time-travel.elf')),
);
const notesAt = kernel.findIndex(
  (_, at) => kernel[at] === 0x58 && kernel[at + 1] === 0x65 && kernel[at + 2] === 0x6e && kernel[at + 3] === 0,
);

/** All the loader does short of machine memory. */
function plan(file: Uint8Array): void {
  const { elf } = unpackKernel(file);
  const image = readXenImage(elf);
  expect(symbolsOfImage(elf).size).toBeLessThan(1 << 20);
  const layout = planLayout({ image, pages: PAGES, ramdiskBytes: 5000 });
  expect(layout.regions.reduce((sum, { pages }) => sum + pages, 0)).toBeLessThanOrEqual(PAGES);
}

describe('a changed image is built or refused', () => {
  test.each([
    ['failing-boot', kernel],
    ['time-travel', timeTravel],
  ])('[D-10] %s: its ELF header and program headers', (name, elf) => {
    expect(fuzz(name, elf, 64 + 56 * 4, plan)).toBeGreaterThan(CASES / 100);
  });

  test('[D-10] its notes', () => {
    expect(notesAt).toBeGreaterThan(0);
    const at = notesAt & ~63;
    const swapped = (bytes: Uint8Array): void =>
      plan(concat(kernel.subarray(0, at), bytes, kernel.subarray(at + bytes.length)));
    expect(fuzz('notes', kernel.slice(at, at + 320), 320, swapped)).toBeGreaterThan(CASES / 100);
  });

  test('[D-12] its section headers and symbols', () => {
    const start = Number(new DataView(kernel.buffer).getBigUint64(0x28, true));
    const swapped = (bytes: Uint8Array): void => plan(concat(kernel.subarray(0, start), bytes));
    fuzz('sections', kernel.slice(start), kernel.length, swapped);
  });

  test('[D-14] its addresses, down to a built machine', () => {
    const elf = (random: Random): Uint8Array => {
      const near = (): bigint => BigInt.asUintN(64, base + BigInt(random.below(PAGES * 2) - 16) * 4096n);
      const base = random.pick([
        0n,
        0x1000n,
        ...FAR_EDGES.map((edge) => edge & ~4095n),
        0xffff_ffff_ff00_0000n,
        0xffff_ffff_ff40_0000n,
      ]);
      const paddr = BigInt(random.pick([0, 0x1000, 0x100000]));
      const extra = [
        xenNote(2, random.below(2) === 0 ? near() : random.pick(FAR_EDGES)),
        ...(random.below(2) === 0
          ? []
          : [xenNote(15, random.below(2) === 0 ? near() : random.pick([...EDGES, ...FAR_EDGES]))]),
        ...(random.below(2) === 0 ? [] : [xenNote(16, 1n)]),
      ];
      return buildElf({
        segments: [
          { vaddr: base, paddr, content: Uint8Array.of(0xeb, 0xfe), memsz: 0x3000 },
          { type: 4, content: pvNotes(base, BigInt.asUintN(64, base + paddr), ...extra) },
        ],
      });
    };
    let built = 0;
    for (let i = 0; i < CASES / 10; i++) {
      try {
        buildPvMachine({
          ...failingBoot(),
          images: { kernel: elf(new Random(SEED * 7_919 + i)) },
          memoryBytes: PAGES * 4096,
        });
        built++;
      } catch (error) {
        if (!(error instanceof EmulatorError) || !ORDERLY.has(error.code))
          throw new Error(`addresses, seed ${SEED}, case ${i}: ${(error as Error).stack}`, { cause: error });
      }
    }
    expect(built).toBeGreaterThan(CASES / 200);
  });

  const zstd = zstdCompressSync(kernel, { params: { [constants.ZSTD_c_compressionLevel]: 9 } });
  test.each([
    ['a gzip file', gzipSync(kernel)],
    ['a bzImage of gzip', bzImage(gzipSync(kernel))],
    ['a bzImage of zstd', bzImage(sized(zstd, kernel.length))],
    ['a bzImage of lz4', bzImage(sized(lz4Literals(kernel), kernel.length))],
  ])('[D-13] %s: its setup header and its stream', (name, file) => {
    fuzz(name, file, file.length, plan, CASES / 3);
    fuzz(name, file, 0x600, plan, CASES / 3);
  });

  const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
  test.each([
    ['xz', bytesOf(XZ_FIXTURES.x86), unpackXz],
    ['lzma', bytesOf(LZMA_FIXTURE), unpackLzmaAlone],
    ['bzip2', bytesOf(BZIP2_FIXTURE), unpackBzip2],
  ] as const)('[D-13] a stream of %s', (name, stream, unpack) => {
    fuzz(name, stream, stream.length, (bytes) => void unpack(bytes, 3000), CASES / 3);
    fuzz(name, stream, 64, (bytes) => void unpack(bytes, 3000), CASES / 3);
  });

  test('[D-14] a ramdisk, with the same end by either decoder', () => {
    const file = gzipSync(kernel.subarray(0, 4000));
    fuzz('ramdisk', file, file.length, (bytes) => {
      const length = moduleLength(bytes);
      const content = unpackModule(bytes);
      expect(content.length).toBeLessThanOrEqual(length);
      expect(Buffer.compare(content, unpackModule(bytes, inflate))).toBe(0);
    });
  });
});

test('[D-02] HYPERCALL_PAGE on a page table is refused when the table is pinned; on any other page it is written', () => {
  const base = 0xffff_ffff_8000_0000n;
  const build = (page: bigint): void => {
    const elf = buildElf({
      segments: [
        { vaddr: base, paddr: 0n, content: Uint8Array.of(0xeb, 0xfe), memsz: 0x1000 },
        { type: 4, content: pvNotes(base, base, xenNote(2, base + page * 4096n)) },
      ],
    });
    buildPvMachine({ ...failingBoot(), images: { kernel: elf }, memoryBytes: PAGES * 4096 });
  };
  // a page of kernel, 8 of p2m list, start_info, two rings: 4 MiB take five tables, pages 12 to 16; the boot stack follows
  for (let page = 0n; page < 20n; page++) {
    if (page < 12n || page > 16n) build(page);
    else expect(errorOf(() => build(page))).toMatch(/^E_IMAGE: the initial page tables are not valid/);
  }
  expect(errorOf(() => build(BigInt(PAGES)))).toMatch(/^E_MEMORY: the hypercall page .* is behind the domain's memory/);
});
