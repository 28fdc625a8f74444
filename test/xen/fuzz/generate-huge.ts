/**
 * Calls with more entries than a step may do: one page of arguments, mapped 30,000 times over by a page table that stands in many
 * slots, is a list of millions. The call then goes on as further steps.
 */
import { CONSOLEIO, DOMID, GNTTABOP, HYPERCALL, MMUEXT, XENVER } from '../../../src/xen/abi/numbers.ts';
import { levelOf, PGT } from '../../../src/xen/mm/page-info.ts';
import { concat, le } from '../../support/elf.ts';
import { HANDLER, words } from '../../support/pv-guest.ts';
import { restore, updateVa } from './generate-memory.ts';
import type { Made, Maker } from './maker.ts';
import { BASE, MAPPED_END } from './world.ts';

/** Slots of the kernel's L2 table behind what it maps, of 2 MiB each. */
const FIRST_SLOT = 2;
const SLOTS = 60;
const PAGE = 4096;
const SELF = BigInt(DOMID.SELF);
const MANY = 2n ** 31n - 1n;
const LIST = MAPPED_END;

const filled = (entry: Uint8Array): Uint8Array => concat(...Array.from({ length: PAGE / entry.length }, () => entry));

interface Huge {
  readonly page: Uint8Array;
  readonly call: Omit<Made, 'names'>;
}
/** A page that is a list however often it stands behind itself, and the call for it. */
function choose(m: Maker): Huge {
  const { dice } = m;
  const call = (op: number, ...args: readonly bigint[]): Omit<Made, 'names'> => ({ op, args });
  return dice.pick<() => Huge>([
    () => {
      const request = words((BigInt(m.ownFrame()) << 12n) | 1n, dice.below(2048));
      return { page: filled(request), call: call(HYPERCALL.mmu_update, LIST, MANY, 0n, SELF) };
    },
    () => {
      // every word of an operation is its command
      const page = filled(words(MMUEXT.TLB_FLUSH_LOCAL));
      return { page, call: call(HYPERCALL.mmuext_op, LIST, MANY, 0n, SELF) };
    },
    () => {
      const entry = concat(le(dice.below(32), 1), le(0, 1), le(0xe033, 2), le(0, 4), le(HANDLER, 8));
      return { page: filled(entry), call: call(HYPERCALL.set_trap_table, LIST) };
    },
    () => {
      const entry = words(HYPERCALL.xen_version, 0, XENVER.version, 0, 0, 0, 0, 0);
      return { page: filled(entry), call: call(HYPERCALL.multicall, LIST, 2n ** 32n - 1n) };
    },
    // cache_flush of nothing, swaps of an entry with itself
    () => ({
      page: new Uint8Array(PAGE),
      call: call(HYPERCALL.grant_table_op, BigInt(GNTTABOP.cache_flush), LIST, MANY),
    }),
    () => ({
      page: filled(words(0)),
      call: call(HYPERCALL.grant_table_op, BigInt(GNTTABOP.swap_grant_ref), LIST, MANY),
    }),
    () => ({
      page: filled(le(0x2e, 1)),
      call: call(HYPERCALL.console_io, BigInt(CONSOLEIO.write), 2n ** 32n - 1n, LIST),
    }),
  ])();
}

/** The kernel's own L2 table: the one that maps where it runs. */
function kernelL2(m: Maker): number {
  const { memory, vcpus } = m.world.guest.xen;
  let table = vcpus[0]!.kernelTable;
  for (const shift of [39n, 30n])
    table = Number((memory.read64(table * PAGE + Number((BASE >> shift) & 511n) * 8) >> 12n) & 0xffffffn);
  return table;
}

/** The table, the mappings, and the call. */
export function huge(m: Maker): Array<(m: Maker) => Made> {
  const list = m.writablePage();
  const table = m.writablePage();
  if (list === null || table === null || list === table) return [restore];
  const listFrame = m.mappedFrame(list)!;
  const tableFrame = m.mappedFrame(table)!;
  const { page, call } = choose(m);
  return [
    (now) => {
      const entries = new BigUint64Array(512).fill((BigInt(listFrame) << 12n) | 0x65n);
      now.stores.push({ at: list, bytes: page }, { at: table, bytes: new Uint8Array(entries.buffer) });
      return updateVa(table, (BigInt(tableFrame) << 12n) | 0x65n);
    },
    (now) => {
      const l2 = BigInt(kernelL2(now)) << 12n;
      const entry = (BigInt(tableFrame) << 12n) | 0x67n;
      const requests = Array.from({ length: SLOTS }, (_, i) => words(l2 | BigInt((FIRST_SLOT + i) * 8), entry));
      const args = [now.put(concat(...requests)), BigInt(SLOTS), 0n, SELF];
      return { op: HYPERCALL.mmu_update, args, names: ['mmu_update/normalPtUpdate'] };
    },
    (now) => {
      const { frames } = now.world.guest.xen.mm.domain;
      const isTable = levelOf(frames.type(tableFrame)) === 1 && (frames.type(tableFrame) & PGT.countMask) > SLOTS / 2;
      return isTable ? { ...call, names: [] } : restore(now);
    },
  ];
}
