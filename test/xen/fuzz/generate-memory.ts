/** Calls of memory management: page tables under construction, pins, roots, descriptor tables, reservations. */
import { DOMID, HYPERCALL, MMU, MMUEXT, XENMEM } from '../../../src/xen/abi/numbers.ts';
import { AMD64 } from '../../../src/xen/abi/structures.ts';
import { levelOf, PGT } from '../../../src/xen/mm/page-info.ts';
import { concat } from '../../support/elf.ts';
import { words } from '../../support/pv-guest.ts';
import type { Made, Maker } from './maker.ts';
import { PLAYGROUND } from './world.ts';

const SELF = BigInt(DOMID.SELF);
/** update_va_mapping: INVLPG of this vCPU. */
const INVALIDATE = 2n;
/** Entries of upper tables that do not lead to the kernel's own pages. */
const FREE_SLOTS = [[], [], [2, 3, 7, 511], [0, 1, 5, 509], [0, 1, 2, 255, 272, 300, 510]] as const;
/** Bit of a count that marks a continued call. */
const PREEMPTED = 0x8000_0000n;
const RW = 2n;
/** The L4 slot that the kernel is in. */
const KERNEL_SLOT = 511;

/** Most calls are on the domain itself. */
const domain = (m: Maker): bigint =>
  m.dice.chance(97) ? SELF : m.dice.pick([0n, 1n, 5n, BigInt(DOMID.IO), BigInt(DOMID.XEN), 0x2_7ff0n, 0x9_7ff0n]);
/** Where the number of requests done goes, or nowhere. */
const pdone = (m: Maker): bigint => (m.dice.chance(60) ? 0n : m.put(new Uint8Array(8)));

export const updateVa = (at: bigint, entry: bigint, flags = INVALIDATE): Made => ({
  op: HYPERCALL.update_va_mapping,
  args: [at, entry, flags],
  names: ['update_va_mapping'],
});
/** mmuext_op of operations given as command, argument, argument. */
function mmuext(
  m: Maker,
  ...operations: ReadonlyArray<[keyof typeof MMUEXT, bigint | number, (bigint | number)?]>
): Made {
  const list = operations.map(([name, arg1, arg2 = 0]) => words(MMUEXT[name], arg1, arg2));
  return {
    op: HYPERCALL.mmuext_op,
    args: [m.put(concat(...list)), BigInt(operations.length), pdone(m), domain(m)],
    names: operations.map(([name]) => `mmuext_op/${name}`),
  };
}

/** A slot of a table that may change without the guest losing itself. */
function slotOf(m: Maker, table: number, level: number): number {
  const { dice, world } = m;
  if (dice.chance(0.3)) return dice.below(512);
  if (level > 1) return dice.pick(FREE_SLOTS[level]!);
  // an L1 of the kernel's own maps the playground first
  return world.guest.xen.mm.domain.frames.type(table) & PGT.pinned ? dice.below(512) : dice.below(PLAYGROUND);
}
/** An entry for a table of `level`: something that fits there, or anything. */
function entryFor(m: Maker, level: number): bigint {
  const below = level > 1 && m.dice.chance(85) ? m.table(level - 1) : null;
  if (below === null) return m.entry();
  const entry = m.entry(below);
  return m.dice.chance(10) && level > 1 ? entry & ~RW : entry;
}

function request(m: Maker): { bytes: Uint8Array; name: string } {
  const { dice } = m;
  const cmd = dice.pick(['normalPtUpdate', 'normalPtUpdate', 'normalPtUpdate', 'ptUpdatePreserveAd', 'ptUpdateNoTranslate', 'machphysUpdate'] as const); // biome-ignore format: one row
  const name = `mmu_update/${cmd}`;
  if (cmd === 'machphysUpdate')
    return { name, bytes: words((BigInt(m.ownFrame()) << 12n) | BigInt(MMU[cmd]), dice.below(2048)) };
  const table = dice.chance(85) ? m.table() : m.frame();
  const mfn = table ?? m.frame();
  const level = levelOf(m.world.guest.xen.mm.domain.frames.type(mfn));
  const slot = level === 0 ? dice.below(512) : slotOf(m, mfn, level);
  return { name, bytes: words((BigInt(mfn) << 12n) | BigInt(slot * 8) | BigInt(MMU[cmd]), entryFor(m, level)) };
}
export function mmuUpdate(m: Maker): Made {
  const requests = Array.from({ length: m.dice.chance(70) ? 1 : 1 + m.dice.below(5) }, () => request(m));
  const list = m.put(concat(...requests.map((x) => x.bytes)));
  return {
    op: HYPERCALL.mmu_update,
    args: [list, BigInt(requests.length) | (m.dice.chance(2) ? PREEMPTED : 0n), pdone(m), domain(m)],
    names: requests.map((x) => x.name),
  };
}

export function mapSomething(m: Maker): Made {
  const flags = m.dice.pick([0n, 1n, 2n, 5n, 6n, 2n, m.dice.chance(10) ? m.put(words(1)) | 1n : 2n]);
  return updateVa(m.dice.chance(97) ? m.page() : m.badPointer(), m.entry(), flags);
}
/** Gives a page in play its first frame back, writable: what the playground lives of. */
export function restore(m: Maker): Made {
  const pfn = m.dice.below(PLAYGROUND);
  return updateVa(m.world.va(pfn), (BigInt(m.world.frame(pfn)) << 12n) | 0x67n);
}

/** Fills a page, takes its write access away and pins it as a table, calls of which each may succeed. */
export function buildTable(m: Maker): Array<(m: Maker) => Made> {
  const at = m.writablePage();
  if (at === null) return [restore];
  const level = 1 + m.dice.below(4);
  const pin = (['', 'PIN_L1_TABLE', 'PIN_L2_TABLE', 'PIN_L3_TABLE', 'PIN_L4_TABLE'] as const)[level] as 'PIN_L1_TABLE';
  const mfn = m.mappedFrame(at)!;
  const isRoot = level === 4 && m.dice.chance(60);
  return [
    (now) => {
      const page = new Uint8Array(4096);
      const view = new BigUint64Array(page.buffer);
      if (isRoot) copyKernelTable(now, view);
      for (let i = now.dice.below(6); i > 0; i--) view[slotOf(now, mfn, level)] = entryFor(now, level);
      if (level > 1 && now.dice.chance(5)) view[now.dice.pick(FREE_SLOTS[level]!)] = (BigInt(mfn) << 12n) | 0x65n;
      now.stores.push({ at, bytes: page });
      return updateVa(at, (BigInt(mfn) << 12n) | 0x65n);
    },
    (now) => mmuext(now, [pin, mfn]),
    (now) =>
      level !== 4
        ? mmuUpdate(now)
        : mmuext(now, [isRoot && now.dice.chance(50) ? 'NEW_BASEPTR' : 'NEW_USER_BASEPTR', mfn]),
  ];
}
/** A root of the guest's own keeps what the kernel needs. */
function copyKernelTable(m: Maker, page: BigUint64Array): void {
  const { memory, vcpus } = m.world.guest.xen;
  for (let i = 272; i < 512; i++) page[i] = memory.read64(vcpus[0]!.kernelTable * 4096 + i * 8);
}

/** A root that has the kernel's own mappings. */
function kernelRoot(m: Maker): number {
  const { memory, vcpus } = m.world.guest.xen;
  const kernel = (mfn: number): bigint => memory.read64(mfn * 4096 + KERNEL_SLOT * 8);
  const found = m.table(4) ?? 0;
  const { kernelTable } = vcpus[0]!;
  return found !== 0 && kernel(found) === kernel(kernelTable) ? found : kernelTable;
}

export function unpin(m: Maker): Made {
  return mmuext(m, ['UNPIN_TABLE', m.find((info) => (info & PGT.pinned) !== 0) ?? m.frame()]);
}
export function mmuextOp(m: Maker): Made {
  const { dice } = m;
  const free = (): number => m.find((info) => (info & PGT.countMask) === 0) ?? m.ownFrame();
  const l4 = (): number => m.table(4) ?? m.frame();
  const untyped = dice.chance(80);
  const one = (): [keyof typeof MMUEXT, bigint | number, (bigint | number)?] =>
    dice.pick<() => [keyof typeof MMUEXT, bigint | number, (bigint | number)?]>([
      () => ['PIN_L1_TABLE', untyped ? free() : m.frameWord()],
      () => ['PIN_L2_TABLE', untyped ? free() : m.frameWord()],
      () => ['PIN_L3_TABLE', untyped ? free() : m.frameWord()],
      () => ['PIN_L4_TABLE', untyped ? free() : m.frameWord()],
      () => ['UNPIN_TABLE', m.frameWord()],
      () => ['NEW_BASEPTR', dice.chance(99) ? kernelRoot(m) : m.frame()],
      () => ['NEW_USER_BASEPTR', dice.chance(30) ? 0 : dice.chance(90) ? l4() : m.frameWord()],
      () => ['TLB_FLUSH_LOCAL', 0],
      () => ['INVLPG_LOCAL', dice.chance(90) ? m.page() : dice.wide()],
      () => ['TLB_FLUSH_MULTI', 0, m.put(words(1))],
      () => ['INVLPG_MULTI', m.page(), m.put(words(1))],
      () => ['TLB_FLUSH_ALL', 0],
      () => ['INVLPG_ALL', dice.wide()],
      () => ['SET_LDT', m.page(), dice.pick([0, 1, 8, 512, 513, 1024, 8192, 8193])],
      () => ['CLEAR_PAGE', dice.chance(70) ? free() : m.frame()],
      () => ['COPY_PAGE', dice.chance(70) ? free() : m.frame(), m.frame()],
      () => [dice.pick(['FLUSH_CACHE', 'FLUSH_CACHE_GLOBAL', 'MARK_SUPER', 'UNMARK_SUPER'] as const), m.frame()],
    ])();
  return mmuext(m, ...Array.from({ length: dice.chance(80) ? 1 : 1 + dice.below(4) }, one));
}

/** A page of descriptors, first made read-only, then the GDT, or the LDT of which a selector is loaded. */
export function buildDescriptors(m: Maker): Array<(m: Maker) => Made> {
  const at = m.writablePage();
  if (at === null) return [restore];
  const mfn = m.mappedFrame(at)!;
  const readOnly = (now: Maker): Made => {
    const page = new Uint8Array(4096);
    const view = new BigUint64Array(page.buffer);
    for (let i = now.dice.below(8); i > 0; i--) view[now.dice.below(16)] = now.descriptor();
    now.stores.push({ at, bytes: page });
    return updateVa(at, (BigInt(mfn) << 12n) | 0x65n);
  };
  const load = (now: Maker): Made => ({
    op: HYPERCALL.set_segment_base,
    args: [3n, BigInt((now.dice.below(16) << 3) | 7)],
    names: ['set_segment_base/GS_USER_SEL'],
  });
  if (m.dice.chance(50)) return [readOnly, (now) => setGdt(now, [mfn])];
  return [readOnly, (now) => mmuext(now, ['SET_LDT', at, 512]), load, updateDescriptor];
}
function setGdt(m: Maker, frames: readonly number[]): Made {
  const entries = m.dice.chance(95) ? frames.length * 512 - m.dice.below(512) : m.dice.below(0x2000);
  return { op: HYPERCALL.set_gdt, args: [m.put(words(...frames)), BigInt(entries)], names: ['set_gdt'] };
}
export const anyGdt = (m: Maker): Made =>
  setGdt(
    m,
    Array.from({ length: m.dice.below(3) }, () => m.find((x) => (x & PGT.countMask) === 0) ?? m.frame()),
  );
export function updateDescriptor(m: Maker): Made {
  const page = m.find((info) => (info & PGT.typeMask) === PGT.segDesc) ?? m.frame();
  const at = (BigInt(page) << 12n) | BigInt(8 * m.dice.below(512));
  return { op: HYPERCALL.update_descriptor, args: [at, m.descriptor()], names: ['update_descriptor'] };
}

const memory = (name: keyof typeof XENMEM, argument: bigint): Made => ({
  op: HYPERCALL.memory_op,
  args: [BigInt(XENMEM[name]), argument],
  names: [`memory_op/${name}`],
});
/** A frame that nothing but its allocation refers to. */
const loose = (m: Maker): number => m.find((info, mfn) => (m.world.guest.xen.mm.domain.frames.count(mfn) & 0xffff) === 1 && info >= 0) ?? m.ownFrame(); // biome-ignore format: one row
const dom = (m: Maker): number => (m.dice.chance(96) ? DOMID.SELF : m.dice.pick([0, 1, 2, DOMID.IO]));

function reservation(m: Maker, name: 'increase_reservation' | 'decrease_reservation' | 'populate_physmap'): Made {
  const { dice } = m;
  const count = 1 + dice.below(3);
  const list = Array.from({ length: count }, () =>
    name === 'decrease_reservation' ? loose(m) : name === 'populate_physmap' ? 1024 + dice.below(1024) : 0,
  );
  const order = dice.chance(85) ? 0 : dice.below(12);
  const mem_flags = dice.chance(90) ? 0 : dice.pick([12, 20, 25, 32, 1 << 16, 1 << 17]);
  const extent_start = m.put(words(...list));
  const values = { extent_start, nr_extents: count, extent_order: order, mem_flags, domid: dom(m) };
  return memory(name, m.struct(AMD64.memoryReservation, values));
}
function exchange(m: Maker): Made {
  const { dice } = m;
  const [inOrder, outOrder] = dice.pick([
    [0, 0],
    [0, 0],
    [0, 1],
    [1, 0],
  ] as const);
  const count = 2;
  const input = Array.from({ length: count }, () => BigInt(loose(m)));
  if (inOrder === 1) input.forEach((x, i) => { input[i] = x & ~1n; }); // biome-ignore format: one row
  const outputs = (count << inOrder) >> outOrder;
  const output = Array.from({ length: outputs }, () => 1024 + dice.below(1024));
  const part = (list: bigint, extents: number, order: number): Uint8Array => {
    const bytes = new Uint8Array(AMD64.memoryReservation.bytes);
    bytes.set(words(list, extents, BigInt(order), DOMID.SELF));
    return bytes;
  };
  const arg = concat(
    part(m.put(words(...input)), count, inOrder),
    part(m.put(words(...output)), outputs, outOrder),
    words(0),
  );
  return memory('exchange', m.put(arg));
}
export function memoryOp(m: Maker): Made {
  const { dice } = m;
  const domid = (): bigint => m.put(words(dom(m)));
  return dice.pick<() => Made>([
    () => reservation(m, 'increase_reservation'),
    () => reservation(m, 'decrease_reservation'),
    () => reservation(m, 'decrease_reservation'),
    () => reservation(m, 'populate_physmap'),
    () => reservation(m, 'populate_physmap'),
    () => exchange(m),
    () => memory('maximum_ram_page', 0n),
    () => memory(dice.pick(['current_reservation', 'maximum_reservation', 'maximum_gpfn'] as const), domid()),
    () => memory('memory_map', m.struct(AMD64.memoryMap, { nr_entries: dice.below(3), buffer: m.put(new Uint8Array(40)) })), // biome-ignore format: one row
    () => memory('machphys_mapping', m.put(new Uint8Array(24))),
    () =>
      memory(
        dice.pick([
          'machphys_mfn_list',
          'add_to_physmap',
          'machine_memory_map',
          'set_memory_map',
          'remove_from_physmap',
          'add_to_physmap_batch',
          'claim_pages',
          'get_vnumainfo',
          'acquire_resource',
        ] as const),
        m.put(new Uint8Array(64)),
      ),
  ])();
}
