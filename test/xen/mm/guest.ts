/**
 * A domain without a processor: pages, hypercall arguments in a buffer of their own, and everything Xen said.
 */
import { expect } from 'vitest';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import { Domain, type DomainHost, type VcpuTables } from '../../../src/xen/domain.ts';
import { createMemory, startFrame } from '../../../src/xen/domain-builder.ts';
import { machineLayout } from '../../../src/xen/mm/machine-layout.ts';
import { doMmuextOp } from '../../../src/xen/mm/mmuext.ts';
import { PGC, PGT } from '../../../src/xen/mm/page-info.ts';
import { doMmuUpdate } from '../../../src/xen/mm/update.ts';
import type { Continuation } from '../../../src/xen/work.ts';

export const SELF = 0x7ff0;
export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 0x20n;
/** Flags of a usual upper-level entry. */
export const TABLE = P | RW | US | A;
/** Where hypercall arguments lie, in an address space that holds nothing else. */
const ARGUMENTS = 0x10000;
const LIST = BigInt(ARGUMENTS + 0x100);
const DONE = BigInt(ARGUMENTS);

export class Guest implements DomainHost {
  readonly d: Domain;
  readonly log: string[] = [];
  readonly changed: number[] = [];
  readonly arguments = new Uint8Array(0x8000);
  readonly vcpu = 0;
  readonly vcpuCount = 1;
  m2pStrict = false;
  readonly tables: VcpuTables = {
    kernelTable: 0,
    userTable: 0,
    gdtFrames: [],
    gdtEntries: 0,
    ldtBase: 0n,
    ldtEntries: 0,
  };

  constructor(pages = 128) {
    const layout = machineLayout(pages);
    const memory = new GuestMemory({ vcpus: 1, slots: layout.slots, frameLimit: layout.frameLimit, recordBytes: 0 });
    this.d = new Domain({ id: 1, layout, memory, log: (line) => this.log.push(line) }, this);
    createMemory(this.d);
  }
  entryChanged(address: number): void {
    this.changed.push(address);
  }
  rootChanged(): void {}
  copyIn(address: bigint, length: number): Uint8Array | null {
    const at = Number(address) - ARGUMENTS;
    return at < 0 || at + length > this.arguments.length ? null : this.arguments.slice(at, at + length);
  }
  fill(address: bigint, into: Uint8Array): boolean {
    const bytes = this.copyIn(address, into.length);
    if (bytes !== null) into.set(bytes);
    return bytes !== null;
  }
  copyOut(address: bigint, data: Uint8Array): boolean {
    const at = Number(address) - ARGUMENTS;
    if (at < 0 || at + data.length > this.arguments.length) return false;
    this.arguments.set(data, at);
    return true;
  }

  mfn(pfn: number): number {
    return startFrame(this.d.layout, pfn);
  }
  /** An entry for a page of the domain. */
  entry(pfn: number, flags: bigint): bigint {
    return BigInt(this.mfn(pfn)) * 4096n + flags;
  }
  /** Stores to a table as to any page, before Xen knows it as a table. */
  put(table: number, index: number, value: bigint): void {
    this.d.memory.write64(this.mfn(table) * 4096 + index * 8, value);
  }
  get(table: number, index: number): bigint {
    return this.d.memory.read64(this.mfn(table) * 4096 + index * 8);
  }
  /** Type, type count, and general count (without the allocation's). */
  info(pfn: number): { type: number; count: number; refs: number; pinned: boolean } {
    const type = this.d.frames.type(this.mfn(pfn));
    const refs = (this.d.frames.count(this.mfn(pfn)) & PGC.countMask) - 1;
    return { type: type >>> 29, count: type & PGT.countMask, refs, pinned: (type & PGT.pinned) !== 0 };
  }
  /** mmu_update of [table, index, value] triples with one command. */
  update(
    list: readonly (readonly [number, number, bigint])[],
    cmd = 0n,
    foreign = SELF,
  ): { rc: number | Continuation; done: number } {
    return this.updateRaw(
      list.map(([table, index, value]) => [BigInt(this.mfn(table) * 4096 + index * 8) | cmd, value]),
      foreign,
    );
  }
  updateRaw(list: readonly (readonly [bigint, bigint])[], foreign = SELF): { rc: number | Continuation; done: number } {
    const view = new DataView(this.arguments.buffer);
    view.setUint32(0, 0xeeee, true);
    for (const [i, [ptr, value]] of list.entries()) {
      view.setBigUint64(0x100 + i * 16, ptr, true);
      view.setBigUint64(0x108 + i * 16, value, true);
    }
    const rc = doMmuUpdate(this.d, LIST, list.length, DONE, foreign);
    return { rc, done: view.getUint32(0, true) };
  }
  /** mmuext_op with one operation. */
  ext(cmd: number, arg1: bigint | number = 0, arg2: bigint | number = 0): number | Continuation {
    const view = new DataView(this.arguments.buffer);
    view.setUint32(0x100, cmd, true);
    view.setBigUint64(0x108, BigInt(arg1), true);
    view.setBigUint64(0x110, BigInt(arg2), true);
    return doMmuextOp(this.d, LIST, 1, DONE, SELF);
  }
  pin(level: number, pfn: number): number | Continuation {
    return this.ext(level - 1, this.mfn(pfn));
  }
  unpin(pfn: number): number | Continuation {
    return this.ext(4, this.mfn(pfn));
  }
  /** Everything said since the last call. */
  said(): string[] {
    return this.log.splice(0);
  }

  /** A tree L4 `l4` -> L3 +1 -> L2 +2 -> L1 +3 in slot 0 of each, pinned. */
  tree(l4: number): void {
    this.put(l4, 0, this.entry(l4 + 1, TABLE));
    this.put(l4 + 1, 0, this.entry(l4 + 2, TABLE));
    this.put(l4 + 2, 0, this.entry(l4 + 3, TABLE));
    expect(this.pin(4, l4)).toBe(0);
  }
}

/** What a failure must leave as it was: all counts and owners; type words where a count stands. */
export function references(guest: Guest): string[] {
  const { frames } = guest.d;
  const out: string[] = [];
  for (let mfn = 0; mfn < frames.limit; mfn++) {
    const count = frames.type(mfn) & PGT.countMask;
    const type = count === 0 ? 'free' : (frames.type(mfn) >>> 0).toString(16);
    out.push(`${mfn} ${frames.count(mfn)} ${frames.owner(mfn)} ${frames.linear(mfn)} ${type}`);
  }
  return out;
}
