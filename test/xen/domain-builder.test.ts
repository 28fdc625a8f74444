import { expect, test } from 'vitest';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { buildDomain } from '../../src/xen/domain-builder.ts';
import type { XenImage } from '../../src/xen/loader/image.ts';
import { planLayout } from '../../src/xen/loader/layout.ts';
import { machineLayout } from '../../src/xen/mm/machine-layout.ts';
import { PGC, PGT } from '../../src/xen/mm/page-info.ts';

const BASE = 0xffffffff80000000n;
const PAGES = 4096;

/** A kernel of three pages at 1 MiB, whose hypercall page is its second. */
function build(options: { initP2m?: bigint; modStartPfn?: boolean } = {}) {
  const code = new Uint8Array(3 * 4096).fill(0x90);
  const info = {
    virtBase: BASE,
    entry: BASE + 0x100000n,
    hypercallPage: BASE + 0x101000n,
    modStartPfn: options.modStartPfn ?? false,
    initP2m: options.initP2m ?? null,
  } as XenImage['info'];
  const pieces = [{ offset: 0, content: code, memsz: code.length }];
  const image = { elf: null as never, info, pieces, virtStart: BASE + 0x100000n, virtEnd: BASE + 0x103000n };
  const ramdisk = new TextEncoder().encode('ramdisk');
  const plan = planLayout({ image, pages: PAGES, ramdiskBytes: ramdisk.length });
  const machine = machineLayout(PAGES);
  const memory = new GuestMemory({ vcpus: 1, slots: machine.slots, frameLimit: machine.frameLimit, recordBytes: 0 });
  const built = buildDomain({
    id: 1,
    vcpus: 1,
    machine,
    memory,
    plan,
    pieces,
    ramdisk,
    commandLine: 'console=hvc0 x',
    log: () => {},
  });
  /** Machine address of a guest address, by the initial tables; null when it is not mapped. */
  const walk = (va: bigint): { address: number; entry: bigint } | null => {
    let table = built.context.kernelTable;
    for (let level = 4; level >= 1; level--) {
      const index = Number((va >> BigInt(3 + 9 * level)) & 511n);
      const entry = memory.read64(table * 4096 + index * 8);
      if ((entry & 1n) === 0n) return null;
      table = Number((entry >> 12n) & 0xffffffffffn);
      if (level === 1) return { address: table * 4096 + Number(va & 0xfffn), entry };
    }
    return null;
  };
  return { built, memory, plan, machine, walk };
}
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\0.*/s, '');

test('[D-15] vCPU 0 starts at the entry with its stack and start_info', () => {
  const { built, plan, walk } = build();
  const { context } = built;
  expect(context).toMatchObject({ rip: BASE + 0x100000n, cs: 0xe033, ss: 0xe02b, ds: 0, rflags: 0x202n, flags: 0x24 });
  expect(context.rsp).toBe(plan.stackTop);
  expect(context.kernelSp).toBe(context.rsp);
  expect(walk(context.rsp - 8n)!.entry & 3n).toBe(3n);
  expect(context.rsp & 0xfffn).toBe(0n);
});

test('[D-16] start_info says where everything is', () => {
  const { built, memory, plan, walk } = build();
  const info = walk(built.context.rsi)!.address;
  const word = (at: number): bigint => memory.read64(info + at);
  expect(text(memory.readBytes(info, 32))).toBe('xen-3.0-x86_64');
  expect(word(0x20)).toBe(BigInt(PAGES));
  expect(word(0x28)).toBe(BigInt(built.sharedInfo) * 4096n);
  expect(word(0x38)).toBe(BigInt(built.xenstore.frame));
  expect(memory.read32(info + 0x40)).toBe(1);
  expect(word(0x48)).toBe(BigInt(built.console.frame));
  expect(memory.read32(info + 0x50)).toBe(2);
  expect(walk(word(0x58))!.address).toBe(built.context.kernelTable * 4096);
  expect(word(0x60)).toBe(BigInt(plan.startInfo.nrPtFrames));
  expect(memory.read64(walk(word(0x68) + 8n * 77n)!.address)).toBe(BigInt(built.domain.layout.domainBase + 77));
  expect(text(memory.readBytes(walk(word(0x70))!.address, Number(word(0x78))))).toBe('ramdisk');
  expect(text(memory.readBytes(info + 0x80, 1024))).toBe('console=hvc0 x');
});

test('[D-14] INIT_P2M and an unmapped ramdisk lie outside the initial mapping', () => {
  const P2M = 0x8000000000n;
  const { built, memory, plan, walk } = build({ initP2m: P2M, modStartPfn: true });
  const info = walk(built.context.rsi)!.address;
  expect(memory.read64(info + 0x68)).toBe(P2M);
  const first = Number(memory.read64(info + 0x480));
  expect(walk(P2M)!.address).toBe((built.domain.layout.domainBase + first) * 4096);
  expect(memory.read64(walk(P2M + 8n * 4095n)!.address)).toBe(BigInt(built.domain.layout.domainBase + 4095));
  // The list, and an L3, an L2 and an L1 table for it.
  expect(memory.read64(info + 0x488)).toBe(BigInt((PAGES * 8) / 4096 + 3));
  const pfn = Number(memory.read64(info + 0x70));
  expect(text(memory.readBytes((built.domain.layout.domainBase + pfn) * 4096, 7))).toBe('ramdisk');
  expect(memory.read32(info + 0x30) & 8).toBe(8);
  expect(plan.mappings.length).toBe(2);
});

test('[D-17] the tables are typed, pinned and mapped read-only; everything else is writable', () => {
  const { built, memory, plan, walk } = build();
  const { frames, layout } = built.domain;
  const root = frames.type(built.context.kernelTable);
  expect([root >>> 29, root & PGT.countMask, root & PGT.pinned]).toEqual([4, 2, PGT.pinned]);
  const tables = plan.regions.find((region) => region.name === 'page tables')!;
  for (let va = plan.virtBase; va < plan.virtEnd; va += 4096n) {
    const { address, entry } = walk(va)!;
    const pfn = address / 4096 - layout.domainBase;
    expect(pfn).toBe(Number((va - plan.virtBase) / 4096n));
    const isTable = pfn >= tables.pfn && pfn < tables.pfn + tables.pages;
    expect([pfn, entry & 2n]).toEqual([pfn, isTable ? 0n : 2n]);
    const type = frames.type(address / 4096) >>> 29;
    if (isTable) expect([1, 2, 3, 4]).toContain(type);
    else expect(type).toBe(7);
  }
  // A present kernel entry reads back with Xen's own bits.
  expect(walk(plan.virtBase)!.entry & ~0xfffffffff000n).toBe(0x0010000000000027n);
  // The M2P answers for every page.
  for (const pfn of [0, 100, 4095])
    expect(memory.read64(walk(0xffff800000000000n + 8n * BigInt(layout.domainBase + pfn))!.address)).toBe(BigInt(pfn));
});

test('[D-02] the hypercall page has a stub a number and one of its own for iret', () => {
  const { memory, walk } = build();
  const stub = (number: number, length: number): number[] => [
    ...memory.readBytes(walk(BASE + 0x101000n + BigInt(number * 32))!.address, length),
  ];
  expect(stub(1, 14)).toEqual([0x51, 0x41, 0x53, 0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3]);
  expect(stub(127, 5)).toEqual([0x51, 0x41, 0x53, 0xb8, 127]);
  expect(stub(1, 32).slice(14)).toEqual(new Array(18).fill(0xcc));
  expect(stub(23, 11)).toEqual([0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05]);
  expect(memory.read8(walk(BASE + 0x100000n)!.address)).toBe(0x90);
});

test("[D-15] [D-27] shared_info is the guest's to map, with events masked on all 32 vCPUs", () => {
  const { built, memory } = build();
  const at = built.sharedInfo * 4096;
  for (let i = 0; i < 32; i++) expect([memory.read8(at + i * 64), memory.read8(at + i * 64 + 1)]).toEqual([0, 1]);
  const { frames } = built.domain;
  expect(frames.owner(built.sharedInfo)).toBe(1);
  expect(frames.type(built.sharedInfo) >>> 29).toBe(7);
  expect(frames.count(built.sharedInfo) & PGC.xenHeap).not.toBe(0);
  expect(built.grantFrames.length).toBe(64);
  expect(new Set([built.sharedInfo, ...built.grantFrames]).size).toBe(65);
});

test('[D-17] frames are a function of the sizes alone, and never equal their pfn', () => {
  const [a, b] = [machineLayout(65536), machineLayout(65536)];
  expect(a).toEqual(b);
  expect(a.m2pPages * 512).toBeGreaterThanOrEqual(a.frameLimit);
  expect(a.domainBase).toBeGreaterThan(0);
  expect(a.heapBase + a.heapPages).toBeLessThanOrEqual(a.domainBase);
});
