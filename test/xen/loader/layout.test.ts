import { describe, expect, test } from 'vitest';
import { readXenImage, type XenImage } from '../../../src/xen/loader/image.ts';
import { commandLineBytes, type DomainLayout, planLayout, SIF_MOD_START_PFN } from '../../../src/xen/loader/layout.ts';
import { type PageTableEntry, pageTableEntries } from '../../../src/xen/loader/page-tables.ts';
import { unpackKernel } from '../../../src/xen/loader/payload.ts';
import { buildElf, concat, pvNotes, xenNote } from '../../support/elf.ts';
import { errorOf } from '../../support/error.ts';
import { guest, hasGuest, KNOWN_VMLINUZ, sha256 } from '../../support/guests.ts';

const BASE = 0xffffffff80000000n;
const MIB = 256;

/** A kernel of `memsz` bytes at physical `paddr`, with more notes in `extra`. */
function kernel(paddr: bigint, memsz: number, virtBase: bigint, ...extra: Uint8Array[]): XenImage {
  const content = Uint8Array.from({ length: 100 }, (_, i) => i);
  const notes = pvNotes(virtBase, virtBase + paddr, ...extra);
  return readXenImage(
    buildElf({
      segments: [
        { vaddr: virtBase + paddr, paddr, content, memsz },
        { type: 4, content: notes },
      ],
    }),
  );
}
const names = (layout: DomainLayout): string[] =>
  layout.regions.map((r) => `${r.name} ${r.pfn.toString(16)}+${r.pages.toString(16)} ${r.vaddr?.toString(16) ?? '-'}`);

/** A Linux-like kernel: everything asked for that Debian's 6.1 notes ask for. */
const linuxLike = (memsz: number): XenImage =>
  kernel(0x1000000n, memsz, BASE, xenNote(15, 0x8000000000n), xenNote(16, 1n));

describe('as a real Xen laid it out', () => {
  // The log of xl -vvvv building a mini-os stub domain with 28 MB on Xen 4.12.1 (xen-devel, October 2019): kernel 0x0 ..
  // 0x566638, hypercall page at 0x2000, no INIT_P2M; mini-os printed the start_info it found.
  const stub = planLayout({
    image: kernel(0n, 0x566638, 0n, xenNote(2, 0x2000n)),
    pages: 28 * MIB,
    ramdiskBytes: null,
  });

  test('[D-14] the order and place of all regions', () => {
    expect(names(stub)).toEqual([
      'kernel 0+567 0',
      'phys2mach 567+e 567000',
      'start info 575+1 575000',
      'xenstore 576+1 576000',
      'console 577+1 577000',
      'page tables 578+7 578000',
      'boot stack 57f+1 57f000',
      'padding 580+280 580000',
    ]);
    expect(stub.virtEnd).toBe(0x800000n);
    expect(stub.hypercallPagePfn).toBe(2);
    expect(stub).toMatchObject({ cr3Pfn: 0x578, xenstorePfn: 0x576, consolePfn: 0x577, kernelPfn: 0 });
  });

  test('[D-16] the fields of start_info', () => {
    expect(stub.startInfo).toEqual({
      nrPages: 0x1c00,
      flags: 0,
      ptBase: 0x578000n,
      nrPtFrames: 7,
      mfnList: 0x567000n,
      firstP2mPfn: 0,
      nrP2mFrames: 0,
      modStart: 0n,
      modLen: 0,
    });
  });

  test('[D-15] stack and start_info addresses of vCPU 0', () => {
    expect(stub).toMatchObject({ entry: 0n, stackTop: 0x580000n, startInfoVaddr: 0x575000n });
  });

  test('[D-17] four tables of level 1, one of each other level', () => {
    expect(stub.mappings[0]!.tables.map((t) => [t.count, t.from, t.to])).toEqual([
      [4, 0n, 0x7fffffn],
      [1, 0n, 0x3fffffffn],
      [1, 0n, 0x7fffffffffn],
      [1, 0n, 0xffffffffffffn],
    ]);
  });
});

describe('what the image asks for', () => {
  test('[D-14] a ramdisk is mapped behind the kernel, byte length kept', () => {
    const layout = planLayout({ image: kernel(0n, 0x3000, 0n), pages: 64 * MIB, ramdiskBytes: 5000 });
    expect(names(layout).slice(0, 3)).toEqual(['kernel 0+3 0', 'ramdisk 3+2 3000', 'phys2mach 5+20 5000']);
    expect(layout.startInfo).toMatchObject({ modStart: 0x3000n, modLen: 5000, flags: 0 });
    expect(layout.ramdiskPfn).toBe(3);
  });

  test('[D-14] MOD_START_PFN: the ramdisk lies unmapped behind the initial mapping and is counted in pages', () => {
    const layout = planLayout({ image: linuxLike(0x400000), pages: 64 * MIB, ramdiskBytes: 5000 });
    // Kernel 0x1000+0x400, 3 special pages, tables, stack, 512 KiB and up to 4 MiB: 0x1800.
    expect(names(layout).filter((line) => line.startsWith('ramdisk'))).toEqual(['ramdisk 1800+2 -']);
    expect(layout.startInfo).toMatchObject({ modStart: 0x1800n, modLen: 8192, flags: SIF_MOD_START_PFN });
  });

  test('[D-14] INIT_P2M: the list and its own tables come last, in a region of their own', () => {
    const layout = planLayout({ image: linuxLike(0x400000), pages: 64 * MIB, ramdiskBytes: 5000 });
    // 0x4000 pages of 8 bytes are 0x20 frames; one L1, L2 and L3 table more, for the L4 exists.
    expect(names(layout).slice(-2)).toEqual(['phys2mach 1802+20 8000000000', 'phys2mach tables 1822+3 -']);
    expect(layout.startInfo).toMatchObject({ mfnList: 0x8000000000n, firstP2mPfn: 0x1802, nrP2mFrames: 0x23 });
  });

  test('[D-14] an INIT_P2M above VIRT_BASE or inside a page is ignored, as by Xen', () => {
    for (const address of [BASE + 0x40000000n, 0x8000000800n]) {
      const image = kernel(0x1000000n, 0x1000, BASE, xenNote(15, address));
      const layout = planLayout({ image, pages: 64 * MIB, ramdiskBytes: null });
      expect(names(layout)).toContain('phys2mach 1001+20 ffffffff81001000');
      expect(layout.startInfo.nrP2mFrames).toBe(0);
    }
  });

  test('[D-14] at least 512 KiB behind the boot stack, the end at a multiple of 4 MiB', () => {
    for (let size = 0x300000; size < 0x500000; size += 0x7000) {
      const layout = planLayout({ image: kernel(0n, size, 0n), pages: 64 * MIB, ramdiskBytes: null });
      expect(layout.virtEnd & 0x3fffffn).toBe(0n);
      expect(layout.virtEnd - layout.stackTop).toBeGreaterThanOrEqual(0x80000n);
      expect(layout.virtEnd - layout.stackTop).toBeLessThan(0x80000n + 0x400000n + 0x2000n);
    }
  });

  test('[D-14] regions follow each other from frame 0', () => {
    const layout = planLayout({ image: linuxLike(0x400000), pages: 64 * MIB, ramdiskBytes: 5000 });
    let pfn = 0;
    for (const region of layout.regions) {
      expect(region.pfn).toBe(pfn);
      pfn += region.pages;
    }
  });

  test('[D-14] segments are placed by physical address: a per-CPU segment at virtual address 0', () => {
    const content = Uint8Array.of(1, 2, 3);
    const image = readXenImage(
      buildElf({
        segments: [
          { vaddr: BASE + 0x1000000n, paddr: 0x1000000n, content, memsz: 0x1000 },
          { vaddr: 0n, paddr: 0x1002000n, content: Uint8Array.of(9), memsz: 0x800 },
          { type: 4, content: pvNotes(BASE, BASE + 0x1000000n) },
        ],
      }),
    );
    expect(image.pieces.map((p) => [p.offset, p.content.length, p.memsz])).toEqual([
      [0, 3, 0x1000],
      [0x2000, 1, 0x800],
    ]);
    expect(image).toMatchObject({ virtStart: BASE + 0x1000000n, virtEnd: BASE + 0x1002800n });
  });

  test('[D-11] PADDR_OFFSET: physical addresses that are virtual ones', () => {
    const content = new Uint8Array(16);
    const vaddr = BASE + 0x100000n;
    const notes = concat(pvNotes(BASE, vaddr), xenNote(4, BASE));
    const image = readXenImage(
      buildElf({
        segments: [
          { vaddr, content },
          { type: 4, content: notes },
        ],
      }),
    );
    expect(image.virtStart).toBe(vaddr);
    expect(planLayout({ image, pages: 64 * MIB, ramdiskBytes: null }).kernelPfn).toBe(0x100);
  });
});

describe('page-table entries', () => {
  const layout = planLayout({ image: linuxLike(0x400000), pages: 64 * MIB, ramdiskBytes: null });
  const entries = [...pageTableEntries(layout.mappings)];
  /** Walks the planned tables as hardware would; null where an entry is missing. */
  function walk(vaddr: bigint): PageTableEntry | null {
    let table = layout.cr3Pfn;
    for (let level = 4; ; level--) {
      const index = Number((vaddr >> BigInt(12 + 9 * (level - 1))) & 511n);
      const found = entries.find((e) => e.table === table && e.index === index);
      if (found === undefined) return null;
      expect(found.level).toBe(level);
      if (level === 1) return found;
      table = found.target;
    }
  }

  test('[D-17] every page of the initial mapping maps its own frame, page tables read-only', () => {
    for (const region of layout.regions) {
      if (region.vaddr === null) continue;
      for (let i = 0; i < region.pages; i += 37) {
        const leaf = walk(region.vaddr + BigInt(i) * 4096n);
        // L1: present, accessed and writable (0x23), page tables without RW; xg_dom_x86.c x86_64_params.lvl_prot.
        expect(leaf).toMatchObject({ target: region.pfn + i, flags: region.name === 'page tables' ? 0x21 : 0x23 });
      }
    }
  });

  test('[D-17] nothing is mapped outside: below VIRT_BASE, behind the end, behind the p2m list', () => {
    const p2m = layout.regions.find((r) => r.name === 'phys2mach')!;
    for (const vaddr of [BASE - 4096n, layout.virtEnd, 0n, p2m.vaddr! + BigInt(p2m.pages) * 4096n, p2m.vaddr! - 4096n])
      expect(walk(vaddr & 0xffffffffffffn)).toBeNull();
  });

  test('[D-17] upper levels carry present, writable, user, accessed and dirty', () => {
    const upper = entries.filter((e) => e.level > 1);
    expect(upper.length).toBeGreaterThan(10);
    expect(new Set(upper.map((e) => e.flags))).toEqual(new Set([0x67]));
  });

  test('[D-17] no entry is written twice and all tables are inside their regions', () => {
    const keys = new Set(entries.map((e) => `${e.table}:${e.index}`));
    expect(keys.size).toBe(entries.length);
    const tables = layout.regions.filter((r) => r.name.endsWith('tables'));
    for (const { table } of entries)
      expect(
        tables.some((r) => table >= r.pfn && table < r.pfn + r.pages),
        `table ${table}`,
      ).toBe(true);
  });
});

describe('too little memory', () => {
  test.each([
    [
      8,
      null,
      'the gap between VIRT_BASE and the kernel needs 4096 pages (16 MiB) behind the first 0, but the domain has',
    ],
    [18, null, 'the kernel needs 1024 pages (4 MiB) behind the first 4096, but the domain has 4608 pages (18 MiB)'],
    [21, null, 'the initial mapping needs 6144 pages (24 MiB), but the domain has 5376 pages (21 MiB)'],
    [
      32,
      1 << 24,
      'the ramdisk needs 4096 pages (16 MiB) behind the first 6144, but the domain has 8192 pages (32 MiB)',
    ],
  ])('[D-14] E_MEMORY with %i MiB and a ramdisk of %o bytes', (mebibytes, ramdiskBytes, message) => {
    const error = errorOf(() => planLayout({ image: linuxLike(0x400000), pages: mebibytes * MIB, ramdiskBytes }));
    expect(error).toContain(`E_MEMORY: ${message}`);
  });

  test('[D-17] the initial mapping may use every page but not one more', () => {
    const image = kernel(0x1000000n, 0x400000, BASE);
    // As linuxLike it ends at frame 0x1800, with the p2m list inside.
    expect(planLayout({ image, pages: 0x1800, ramdiskBytes: null }).regions.at(-1)!.name).toBe('padding');
    expect(errorOf(() => planLayout({ image, pages: 0x17ff, ramdiskBytes: null }))).toBe(
      'E_MEMORY: the initial mapping needs 6144 pages (24 MiB), but the domain has 6143 pages (24 MiB)',
    );
  });

  test('[D-14] E_MEMORY: a mapped ramdisk larger than memory', () => {
    const image = kernel(0n, 0x1000, 0n);
    expect(errorOf(() => planLayout({ image, pages: 16 * MIB, ramdiskBytes: 2 ** 30 }))).toMatch(
      /^E_MEMORY: the ramdisk needs 262144 pages \(1024 MiB\)/,
    );
  });
});

test('[D-16] the command line is at most 1,023 bytes and a NUL', () => {
  expect([...commandLineBytes('a=é')]).toEqual([0x61, 0x3d, 0xc3, 0xa9, 0]);
  expect(commandLineBytes('x'.repeat(1023)).length).toBe(1024);
  expect(errorOf(() => commandLineBytes('x'.repeat(1024)))).toBe(
    'E_USAGE: the command line has 1024 bytes, Xen passes 1023',
  );
});

const vmlinuz = hasGuest('debian/vmlinuz') ? guest('debian/vmlinuz') : null;
describe.skipIf(vmlinuz === null || sha256(vmlinuz) !== KNOWN_VMLINUZ)("Debian's kernel 6.1.192-2", () => {
  test('[D-10] its notes, and its layout in 384 MiB with the numbers of the notes and headers', () => {
    const image = readXenImage(unpackKernel(vmlinuz!).elf);
    expect(image.info).toMatchObject({
      virtBase: BASE,
      entry: 0xffffffff830791c0n,
      initP2m: 0x8000000000n,
      modStartPfn: true,
      features: '!writable_page_tables|pae_pgdir_above_4gb',
      supportedFeatures: 0x8811,
      phys32Entry: 0x1000850,
      hypercallPage: null,
    });
    // readelf -l: paddr 0x1000000 .. 0x3079000 + 0x1987000, the per-CPU segment at paddr 0x3044000.
    expect(image).toMatchObject({ virtStart: 0xffffffff81000000n, virtEnd: 0xffffffff84a00000n });
    expect(image.pieces.map((p) => p.offset)).toContain(0x3044000 - 0x1000000);
    const layout = planLayout({ image, pages: 384 * MIB, ramdiskBytes: 2_000_000 });
    // 38 L1 tables for 0x4c00000 bytes, and one of each other level; 98304 frames of p2m list need 192 pages.
    expect(names(layout)).toEqual([
      'padding 0+1000 ffffffff80000000',
      'kernel 1000+3a00 ffffffff81000000',
      'start info 4a00+1 ffffffff84a00000',
      'xenstore 4a01+1 ffffffff84a01000',
      'console 4a02+1 ffffffff84a02000',
      'page tables 4a03+29 ffffffff84a03000',
      'boot stack 4a2c+1 ffffffff84a2c000',
      'padding 4a2d+1d3 ffffffff84a2d000',
      'ramdisk 4c00+1e9 -',
      'phys2mach 4de9+c0 8000000000',
      'phys2mach tables 4ea9+3 -',
    ]);
  });
});
