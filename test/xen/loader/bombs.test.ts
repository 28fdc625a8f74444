/**
 * Images that are small and ask for very much. Each is refused or read within bounds that are counted; the CPU seconds that a case may
 * take only tell work without bounds, which would take minutes. The last test holds the program to the requirement's 5.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fileNotes, readElf, readSymbols } from '../../../src/elf/elf.ts';
import { MOST_NOTES } from '../../../src/elf/limits.ts';
import { findKallsyms } from '../../../src/inspect/kallsyms.ts';
import { symbolsOfElf } from '../../../src/inspect/symbols.ts';
import { readXenImage } from '../../../src/xen/loader/image.ts';
import { UNPACK_LIMIT_BYTES } from '../../../src/xen/loader/limits.ts';
import { unpackKernel } from '../../../src/xen/loader/payload.ts';
import { ascii, buildElf, concat, type ElfSpec, le, note, symbol, xenNote } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';
import { bzImage, sized } from './bz-image.ts';

const CPU_SECONDS = 20;
const BASE = 0xffffffff80000000n;

/** What `work` gives; fails when it takes more than an image may. */
function bounded<T>(work: () => T): T {
  const before = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1e6).toBeLessThan(CPU_SECONDS);
  return result;
}
const refusal = (work: () => unknown): string => bounded(() => errorOf(work));

describe('payloads', () => {
  /** A zstd frame of a window of 128 KiB around `blocks`. */
  const frame = (...blocks: Uint8Array[]): Uint8Array => concat(le(0xfd2fb528, 4), Uint8Array.of(0, 0x38), ...blocks);
  const zstdBlock = (type: number, length: number, content: Uint8Array, isLast = false): Uint8Array =>
    concat(le((length << 3) | (type << 1) | Number(isLast), 3), content);
  const runs = concat(...new Array(1000).fill(zstdBlock(1, 1 << 17, ascii('A'))), zstdBlock(1, 1, ascii('A'), true));
  // Raw literals "A"; 0x17fff sequences of one code each, with matches of 65539 bytes and more and one bit to read.
  const sequences = Uint8Array.of(0x08, 0x41, 0xff, 0x00, 0x81, 0x54, 1, 0, 51, 0x80);
  /** A .lzma file of zeroes for data: every byte is a literal 0, at a fiftieth of a bit a bit. */
  const literals = (size: number): Uint8Array =>
    concat(Uint8Array.of(0x5d, 0, 0, 0x80, 0), le(size, 8), new Uint8Array(size >> 5));

  test.each([
    ['zstd: 128 MiB of runs for 1 MiB', sized(frame(runs), 1 << 20), 'unpacks to more than 1048576 bytes'],
    [
      'zstd: sequences beyond their block',
      sized(frame(zstdBlock(2, sequences.length, sequences, true)), 1 << 28),
      'zstd',
    ],
    ['zstd: a size of 4 GiB', sized(frame(runs), 0xffffffff), 'promises 4294967295 bytes'],
    [
      'zstd: frames behind the frame',
      sized(concat(frame(zstdBlock(1, 1, ascii('A'), true)), frame(runs)), 1),
      'ends at byte',
    ],
    [
      'lzma: literals without end',
      sized(literals(UNPACK_LIMIT_BYTES), UNPACK_LIMIT_BYTES),
      'more symbols than any kernel',
    ],
    ['lzma: 1 GiB', sized(literals(1 << 10), 1 << 30), 'promises 1073741824 bytes, the limit is 268435456'],
    ['bzip2: 1 GiB', sized(ascii('BZh91AY&SY......'), 1 << 30), 'promises 1073741824 bytes, the limit is 268435456'],
    ['lz4: a size and no data', sized(concat(le(0x184c2102, 4), le(4, 4), new Uint8Array(4)), 1 << 28), 'corrupt'],
    [
      'lz4: four million magics',
      sized(new Uint8Array(new Uint32Array(4 << 20).fill(0x184c2102).buffer), 1 << 20),
      'ends at',
    ],
  ])('[D-13] %s', (_, payload, message) => {
    const error = refusal(() => unpackKernel(bzImage(payload)));
    expect(error).toMatch(/^E_IMAGE: /);
    expect(error).toContain(message);
  });
});

describe('tables', () => {
  const LETTERS = new Uint8Array(1 << 20).fill(0x41);
  /** An image whose tables lie over each other: `count` symbols whose names start one byte further each. */
  const image = (count: number, spec: Partial<ElfSpec> = {}): Uint8Array =>
    buildElf({
      segments: [
        { vaddr: BASE, paddr: 0n, content: ascii('kernel text') },
        { type: 4, content: concat(xenNote(3, BASE), xenNote(5, 'xen-3.0'), xenNote(8, 'generic'), xenNote(1, BASE)) },
      ],
      sections: [
        {
          name: '.symtab',
          type: 2,
          link: 2,
          content: concat(
            ...Array.from({ length: count + 1 }, (_, i) =>
              symbol(64, { name: i, value: BASE + BigInt(i), info: 0x12 }),
            ),
          ),
        },
        { name: '.strtab', type: 3, content: concat(LETTERS, new Uint8Array(1)) },
      ],
      ...spec,
    });

  test('[D-12] symbol names are cut where they are longer than any, and all of them have a limit', () => {
    expect(bounded(() => readSymbols(readElf(image(1))))[0]!.name).toBe('A'.repeat(4096));
    expect(refusal(() => readSymbols(readElf(image(20_000))))).toBe(
      'E_IMAGE: the names of its symbols have more than 67108864 bytes',
    );
  });

  test('[D-12] symbols that share a name share the string, and more than a million are refused', () => {
    const one = symbol(64, { name: 1, value: BASE, info: 0x12 });
    const table = (count: number): Uint8Array => {
      const content = new Uint8Array(24 * count);
      for (let at = 0; at < content.length; at += 24) content.set(one, at);
      return image(0, {
        sections: [
          { name: '.symtab', type: 2, link: 2, content },
          { name: '.strtab', type: 3, content: concat(LETTERS, new Uint8Array(1)) },
        ],
      });
    };
    expect(bounded(() => symbolsOfElf(readElf(table(50_000))))!.size).toBe(49_999);
    expect(refusal(() => readSymbols(readElf(table((1 << 20) + 1))))).toContain('more than 1048576 entries');
  });

  test('[D-10] names of sections are not read but where one is looked for', () => {
    const sections = Array.from({ length: 20_000 }, () => ({ name: '', type: 1, content: new Uint8Array(0) }));
    const bytes = image(0, {
      sections: [{ name: 'A'.repeat(1 << 20), type: 3, content: new Uint8Array(0) }, ...sections],
    });
    expect(bounded(() => readXenImage(bytes)).info.virtBase).toBe(BASE);
  });

  /** `content` under `count` program headers of `type`. */
  function overlapping(count: number, type: number, content: Uint8Array, memsz = content.length): Uint8Array {
    const own = buildElf({ segments: [{ vaddr: BASE, paddr: 0n, content: ascii('kernel text') }] });
    const start = 64 + 56 * (count + 1);
    const header = concat(
      le(type, 4),
      le(7, 4),
      le(start, 8),
      le(0, 8),
      le(0, 8),
      le(content.length, 8),
      le(memsz, 8),
      le(0, 8),
    );
    const out = new Uint8Array(start + content.length);
    out.set(own.subarray(0, 64));
    out.set(le(64, 8), 0x20); // e_phoff
    out.set(le(count + 1, 2), 0x38); // e_phnum
    out.set(new Uint8Array(6), 0x3a); // no sections
    out.set(concat(le(1, 4), le(7, 4), le(start, 8), le(0, 8), le(0, 8), le(8, 8), le(4096, 8), le(0, 8)), 64);
    for (let i = 1; i <= count; i++) out.set(header, 64 + 56 * i);
    out.set(content, start);
    return out;
  }

  test('[D-10] of overlapping notes as many are read as libelf reads', () => {
    const bytes = overlapping(60_000, 4, new Uint8Array(120_000));
    expect(bounded(() => fileNotes(readElf(bytes)))).toHaveLength(MOST_NOTES);
    const owners = note('X'.repeat(100_000), 1, new Uint8Array(0));
    expect(bounded(() => fileNotes(readElf(overlapping(60_000, 4, owners))))[0]!.owner).toBe('X'.repeat(32));
    const features = xenNote(10, 'a|'.repeat(100_000));
    expect(refusal(() => readXenImage(overlapping(60_000, 4, features)))).toBe(
      'E_IMAGE: the image has 60000 notes of owner "Xen"',
    );
  });

  test('[D-14] segments may cover what they cover twice, as in elf_load_binary', () => {
    const notes = concat(xenNote(3, BASE), xenNote(5, 'xen-3.0'), xenNote(8, 'generic'), xenNote(1, BASE));
    const load = { vaddr: BASE, paddr: 0n, content: new Uint8Array(8192) };
    const withLoads = (count: number): Uint8Array =>
      buildElf({ segments: [{ type: 4, content: notes }, ...new Array(count).fill(load)] });
    expect(readXenImage(withLoads(2)).pieces).toHaveLength(2);
    expect(errorOf(() => readXenImage(withLoads(3)))).toBe(
      'E_IMAGE: the segments have 24576 bytes together, more than twice the 8192 bytes they cover',
    );
  });

  test('[D-11] keys of the __xen_guest string and names of features are only those that there are', () => {
    const withString = (text: string): Uint8Array =>
      buildElf({
        segments: [{ vaddr: BASE, paddr: 0n, content: ascii('kernel text') }],
        sections: [{ name: '__xen_guest', type: 1, content: ascii(`${text}\0`) }],
      });
    const good = `GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=${BASE},ELF_PADDR_OFFSET=0,VIRT_ENTRY=${BASE}`;
    for (const key of ['__proto__', 'constructor', 'toString', '__defineGetter__'])
      expect(readXenImage(withString(`${good},${key}=1`)).info.virtBase).toBe(BASE);
    expect(errorOf(() => readXenImage(withString(`${good},FEATURES=!constructor`)))).toContain(
      'requires the Xen feature "constructor", which does not exist',
    );
    // a number of a million digits would take its time
    expect(
      bounded(() => readXenImage(withString(`${good},HYPERCALL_PAGE=0x1,UNUSED=${'9'.repeat(1e6)}`))),
    ).toBeDefined();
  });
});

test('[D-13] a search for kallsyms ends where every place leads on to others', () => {
  // 65 thousand places that look like 259 names of 3 tokens each, and, again and again, markers in front of a token table.
  const names = new Uint8Array(new Uint32Array(80_000).fill(0x103).buffer);
  const markers = new Uint8Array(new Uint32Array(Array.from({ length: 400 }, (_, i) => (i & 1) * 1024)).buffer);
  const tokens = Array.from({ length: 256 }, (_, i) => (i >= 0x30 && i <= 0x39 ? String.fromCharCode(i) : 'a'));
  const index = concat(...tokens.map((_, i) => le(2 * i, 2)));
  const tables = concat(markers, ascii(tokens.map((token) => `${token}\0`).join('')), index);
  const image = concat(names, ...new Array(30).fill(tables));
  expect(bounded(() => findKallsyms(image))).toBeNull();
});

describe('the whole program', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'hindsight-bombs-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('[D-13] refuses 32 GiB of zstd within 5 CPU seconds and 1 GiB', async () => {
    const root = resolve(import.meta.dirname, '../../..');
    // 262,144 blocks of 128 KiB of A each
    const run = new Uint8Array(new Uint32Array(1 << 18).fill(0x41100002).buffer);
    const end = concat(Uint8Array.of(11, 0, 0, 0x41));
    writeFileSync(
      join(folder, 'zstd'),
      bzImage(sized(concat(le(0xfd2fb528, 4), Uint8Array.of(0, 0x38), run, end), 1 << 20)),
    );
    const status = await new Promise<{ code: unknown; text: string }>((done) =>
      execFile(process.execPath, [join(root, 'tools/load-images.ts'), folder], (error, text) =>
        done({ code: error?.code ?? 0, text }),
      ),
    );
    expect(status.text).toContain('E_IMAGE: the zstd payload is corrupt: it unpacks to more than 1048576 bytes');
    expect(status.code).toBe(0);
  });
});
