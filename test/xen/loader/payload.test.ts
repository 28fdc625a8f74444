import { constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { inflate } from '../../../src/cli/local/inflate.ts';
import { EmulatorError } from '../../../src/core/errors.ts';
import { isElf } from '../../../src/elf/elf.ts';
import { unpackBzip2 } from '../../../src/xen/loader/bzip2.ts';
import { crc32 } from '../../../src/xen/loader/crc32.ts';
import { unpackGzip } from '../../../src/xen/loader/gzip.ts';
import { unpackLzmaAlone } from '../../../src/xen/loader/lzma-alone.ts';
import { bzImagePayload, moduleLength, unpackKernel, unpackModule } from '../../../src/xen/loader/payload.ts';
import { xxh64 } from '../../../src/xen/loader/xxh64.ts';
import { unpackXz } from '../../../src/xen/loader/xz.ts';
import { unpackZstd } from '../../../src/xen/loader/zstd.ts';
import { ascii, buildElf, concat, le } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';
import { guest, hasGuest, KNOWN_VMLINUZ, sha256 } from '../../support/guests.ts';
import { bzImage, lz4Literals, sized } from './bz-image.ts';
import { codeLike } from './code-like.ts';
import { BZIP2_FIXTURE, BZIP2_RUNS_FIXTURE, LZMA_FIXTURE } from './packed-fixtures.ts';
import { XZ_FIXTURES } from './xz-fixtures.ts';

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));

const elf = buildElf({ segments: [{ content: codeLike(3, 5000) }] });
const checksummed = zstdCompressSync(elf, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
describe('containers', () => {
  test('[D-13] a plain ELF, a gzipped one and a gzipped bzImage', () => {
    expect(unpackKernel(elf)).toEqual({ elf, container: 'elf', packing: 'none' });
    expect(unpackKernel(gzipSync(elf))).toEqual({ elf, container: 'file', packing: 'gzip' });
    expect(unpackKernel(gzipSync(bzImage(elf)))).toEqual({ elf, container: 'bzImage', packing: 'none' });
  });

  test.each([
    ['gzip', gzipSync(elf)],
    ['zstd', sized(zstdCompressSync(elf), elf.length)],
    ['zstd', sized(checksummed, elf.length)],
    ['lz4', sized(lz4Literals(elf), elf.length)],
  ] as const)('[D-13] a bzImage with a %s payload', (packing, payload) => {
    const unpacked = unpackKernel(bzImage(payload));
    expect(unpacked).toMatchObject({ container: 'bzImage', packing });
    expect(Buffer.compare(unpacked.elf, elf)).toBe(0);
  });

  test('[D-13] an LZ4 match may overlap what it writes', () => {
    // Literals 7f 45 4c 46, then a match of 10 bytes from 4 back, then one literal: ELF ELF EL + !.
    const block = Uint8Array.of(0x46, 0x7f, 0x45, 0x4c, 0x46, 4, 0, 0x10, 0x21);
    const frame = concat(le(0x184c2102, 4), le(block.length, 4), block, le(15, 4));
    expect([...unpackKernel(bzImage(frame)).elf]).toEqual([
      ...[0x7f, 0x45, 0x4c, 0x46, 0x7f, 0x45, 0x4c, 0x46, 0x7f, 0x45, 0x4c, 0x46, 0x7f, 0x45, 0x21],
    ]);
  });

  test.each([
    ['text', ascii('#!/bin/sh'), 'not a kernel: neither an ELF file, a gzip file nor a bzImage'],
    ['empty file', new Uint8Array(0), 'not a kernel'],
    ['truncated header', bzImage(elf).subarray(0, 0x230), 'the bzImage ends at 0x230, inside its setup header'],
    ['truncated payload', bzImage(elf).subarray(0, 2000), `the bzImage payload is ${elf.length} bytes at 0x410`],
    ['unknown compression', bzImage(ascii('PK..........')), 'the payload starts with 0x50 0x4b 0x2e 0x2e'],
    ['lzo', bzImage(concat(Uint8Array.of(0x89), ascii('LZO\0\r\n\x1a\n'))), 'packed with lzo, which is not supported'],
    ['not an ELF inside', bzImage(gzipSync(ascii('hello'))), "the bzImage's gzip payload is not an ELF file"],
    ['gzip of text', gzipSync(ascii('hello')), 'the gzip file contains neither'],
    ['wrong size', bzImage(concat(zstdCompressSync(elf), le(elf.length + 1, 4))), 'instead of'],
    ['wrong smaller size', bzImage(concat(zstdCompressSync(elf), le(elf.length - 1, 4))), 'instead of'],
    ['zstd checksum, wrong smaller size', bzImage(concat(checksummed, le(elf.length - 1, 4))), 'instead of'],
    ['zstd checksum, wrong larger size', bzImage(concat(checksummed, le(elf.length + 1, 4))), 'instead of'],
    ['zstd with a dictionary', bzImage(concat(le(0xfd2fb528, 4), le(1, 4), new Uint8Array(20))), 'needs a dictionary'],
    ['zstd bomb', bzImage(concat(zstdCompressSync(elf), le(0xffffffff, 4))), 'promises 4294967295 bytes'],
    ['lz4 offset', bzImage(concat(le(0x184c2102, 4), le(4, 4), Uint8Array.of(0x10, 1, 9, 0), le(9, 4))), 'reaches 9'],
  ])('[D-13] E_IMAGE: %s', (_, file, message) => {
    const error = errorOf(() => unpackKernel(file));
    expect(error).toMatch(/^E_IMAGE: /);
    expect(error).toContain(message);
  });

  test('[D-13] an old boot protocol has no payload', () => {
    const old = bzImage(elf);
    old.set(le(0x207, 2), 0x206);
    expect(errorOf(() => bzImagePayload(old))).toContain('E_IMAGE: the bzImage has boot protocol 0x207');
  });

  test.each([
    ['gzip', gzipSync(elf)],
    ['lz4', sized(lz4Literals(elf), elf.length)],
    ['zstd', sized(zstdCompressSync(elf), elf.length)],
    ['zstd with checksum', sized(checksummed, elf.length)],
  ] as const)('[D-13] %s: damage is an EmulatorError or, without a checksum, has no other effect', (name, payload) => {
    let refused = 0;
    for (let at = 0; at < payload.length; at += 7) {
      const bad = new Uint8Array(payload);
      bad[at] = bad[at]! ^ 0x55;
      try {
        unpackKernel(bzImage(bad));
      } catch (error) {
        expect(error).toBeInstanceOf(EmulatorError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(name === 'gzip' || name === 'zstd with checksum' ? payload.length / 7 - 3 : 0);
  });
});

describe('xz', () => {
  test.each(Object.keys(XZ_FIXTURES) as (keyof typeof XZ_FIXTURES)[])('[D-13] unpacks %s', (name) => {
    expect(Buffer.compare(unpackXz(bytes(XZ_FIXTURES[name]), 3000), codeLike(7, 3000))).toBe(0);
  });

  test('[D-13] every truncation and every changed byte is refused', () => {
    const whole = bytes(XZ_FIXTURES.x86);
    for (let length = 0; length < whole.length; length++)
      expect(errorOf(() => unpackXz(whole.subarray(0, length), 3000))).toMatch(/^E_IMAGE: the xz payload is corrupt/);
    for (let at = 0; at < whole.length; at++) {
      const bad = whole.slice();
      bad[at] = bad[at]! ^ 0x10;
      expect(
        errorOf(() => unpackXz(bad, 3000)),
        `byte ${at}`,
      ).toMatch(/^E_IMAGE: the xz payload is corrupt/);
    }
  });

  test('[D-13] refuses another size than is expected', () => {
    for (const size of [2999, 3001])
      expect(errorOf(() => unpackXz(bytes(XZ_FIXTURES.x86), size))).toContain(`promises 3000 bytes instead of ${size}`);
  });
});

describe('bzip2 and lzma', () => {
  const runs = concat(
    ...(
      [
        [1000, 'a'],
        [1, 'abc'],
        [4, 'b'],
        [259, 'c'],
        [260, 'd'],
      ] as const
    ).map(([count, text]) => ascii(text.repeat(count))),
  );
  /** As other programs write it: the size in the header. */
  const sizedLzma = bytes(LZMA_FIXTURE);
  sizedLzma.set(le(3000, 8), 5);

  test.each([
    ['bzip2', unpackBzip2, bytes(BZIP2_FIXTURE), codeLike(7, 3000)],
    ['bzip2 with runs', unpackBzip2, bytes(BZIP2_RUNS_FIXTURE), runs],
    ['lzma', unpackLzmaAlone, bytes(LZMA_FIXTURE), codeLike(7, 3000)],
    ['lzma with its size', unpackLzmaAlone, sizedLzma, codeLike(7, 3000)],
  ] as const)('[D-13] unpacks %s, to its size alone', (_, unpack, packed, content) => {
    expect(Buffer.compare(unpack(packed, content.length), content)).toBe(0);
    for (const size of [0, content.length - 1, content.length + 1])
      expect(errorOf(() => unpack(packed, size))).toMatch(/^E_IMAGE: the (bzip2|lzma) payload is corrupt/);
  });

  test.each([
    ['bzip2', unpackBzip2, BZIP2_FIXTURE, 0.01],
    ['lzma', unpackLzmaAlone, LZMA_FIXTURE, 0.2],
  ] as const)(
    '[D-13] %s: every truncation is refused, and damage as far as there is a checksum',
    (_, unpack, text, share) => {
      const whole = bytes(text);
      for (let length = 0; length < whole.length; length++)
        expect(errorOf(() => unpack(whole.subarray(0, length), 3000))).toMatch(/^E_IMAGE: /);
      let accepted = 0;
      for (let at = 14; at < whole.length; at++) {
        const bad = whole.slice();
        bad[at] = bad[at]! ^ 0x10;
        try {
          const out = unpack(bad, 3000);
          accepted++;
          // what a checksum does not find, as an unused table, changes nothing
          if (unpack === unpackBzip2) expect(Buffer.compare(out, codeLike(7, 3000))).toBe(0);
        } catch (error) {
          expect(error, `byte ${at}`).toBeInstanceOf(EmulatorError);
        }
      }
      expect(accepted).toBeLessThanOrEqual(share * whole.length);
    },
  );

  test('[D-13] a bzImage of either is found by its magic, and told what it is not', () => {
    for (const [packing, text] of [
      ['bzip2', BZIP2_FIXTURE],
      ['lzma', LZMA_FIXTURE],
    ] as const)
      expect(errorOf(() => unpackKernel(bzImage(sized(bytes(text), 3000))))).toBe(
        `E_IMAGE: the bzImage's ${packing} payload is not an ELF file`,
      );
  });
});

describe('decoders of our own agree with those of the host', () => {
  const zeroes = new Uint8Array(300_000);
  const few = Uint8Array.from({ length: 100_000 }, (_, i) => (i * i) % 7);
  const inputs = [new Uint8Array(0), ascii('a'), codeLike(5, 200), codeLike(9, 200_000), zeroes, few];

  test('[D-13] gzip, at every level and with every strategy', () => {
    for (const input of inputs)
      for (const level of [0, 1, 6, 9])
        for (const strategy of [0, 1, 2, 3, 4])
          expect(Buffer.compare(unpackGzip(gzipSync(input, { level, strategy }), 1 << 20), input)).toBe(0);
  });

  test('[D-13] zstd, at every kind of level, with a checksum and without', () => {
    for (const input of inputs.filter(({ length }) => length > 100))
      for (const level of [-5, 1, 3, 9, 19])
        for (const checksum of [0, 1]) {
          const params = { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: checksum };
          expect(Buffer.compare(unpackZstd(zstdCompressSync(input, { params }), input.length), input)).toBe(0);
        }
  });
});

test('[D-13] XXH64 gives the values of the reference implementation', () => {
  // The published values of no bytes, "a" and "abc"; of the bytes 0 .. 99 (three stripes and a rest) the low half, which
  // `zstd --check` 1.5 writes behind a frame of them.
  expect(xxh64(ascii(''))).toBe(0xef46db3751d8e999n);
  expect(xxh64(ascii('a'))).toBe(0xd24ec4f1a98c6e5bn);
  expect(xxh64(ascii('abc'))).toBe(0x44bc2cf5ad770999n);
  expect(xxh64(Uint8Array.from({ length: 100 }, (_, i) => i)) & 0xffffffffn).toBe(0x32166597n);
});

test('[D-13] CRC-32 of the check string of the catalogue is cbf43926', () => {
  expect(crc32(ascii('123456789'))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array(0))).toBe(0);
});

describe.each([
  ['our own decoder', undefined],
  ["the host's zlib", inflate],
])('ramdisks, unpacked by %s', (_, by) => {
  const seen = (file: Uint8Array): { content: Uint8Array; length: number } => ({
    content: Uint8Array.from(unpackModule(file, by)),
    length: moduleLength(file),
  });

  test('[D-14] a gzip file is handed over unpacked with 16 bytes of slack, anything else as it is', () => {
    const cpio = codeLike(1, 9000);
    expect(seen(gzipSync(cpio))).toEqual({ content: cpio, length: 9016 });
    expect(seen(cpio)).toEqual({ content: cpio, length: 9000 });
  });

  test('[D-14] a gzip file that does not unpack is handed over raw', () => {
    const broken = new Uint8Array(gzipSync(codeLike(1, 9000)));
    broken[broken.length - 6] = broken[broken.length - 6]! ^ 1;
    expect(seen(broken)).toEqual({ content: broken, length: 9016 });
    const lying = new Uint8Array(gzipSync(codeLike(1, 9000)));
    new DataView(lying.buffer).setUint32(lying.length - 4, 8000, true);
    expect(seen(lying)).toEqual({ content: lying, length: 8016 });
  });

  // xc_dom_do_gunzip ends with the first member, for which there is room as the last one's trailer says.
  test('[D-14] of several members the first is unpacked, where it fits the size of the last', () => {
    const [small, large] = [codeLike(1, 900), codeLike(2, 9000)];
    expect(seen(concat(gzipSync(small), gzipSync(large)))).toEqual({ content: small, length: 9016 });
    const members = concat(gzipSync(large), gzipSync(small));
    expect(seen(members)).toEqual({ content: members, length: members.length });
    const nested = gzipSync(gzipSync(small));
    expect(seen(nested).content).toEqual(new Uint8Array(gzipSync(small)));
  });

  test('[D-14] more than 512 MiB are not unpacked, more than 1 GiB not even by Xen', () => {
    const file = new Uint8Array(gzipSync(codeLike(1, 9000)));
    const size = new DataView(file.buffer);
    size.setUint32(file.length - 4, (512 << 20) - 15, true);
    expect(errorOf(() => moduleLength(file))).toBe(
      'E_IMAGE: the ramdisk unpacks to 536870913 bytes, the limit is 536870912',
    );
    size.setUint32(file.length - 4, (1 << 30) - 15, true);
    expect(seen(file)).toEqual({ content: file, length: file.length });
  });
});

describe.skipIf(!hasGuest('debian/vmlinuz'))("Debian's vmlinuz", () => {
  test('[D-13] its xz payload unpacks to the vmlinux that liblzma gives', () => {
    const file = guest('debian/vmlinuz');
    const { elf: vmlinux, container, packing } = unpackKernel(file);
    expect({ container, packing }).toEqual({ container: 'bzImage', packing: 'xz' });
    expect(isElf(vmlinux)).toBe(true);
    if (sha256(file) !== KNOWN_VMLINUZ) return;
    expect(vmlinux.length).toBe(65_906_612);
    expect(sha256(vmlinux)).toBe('4b37ad587701fad5c25512b00c98ee8067ca35f61c5c49d852af3637a44b1227');
  });
});
