/**
 * Copies between the hypervisor and guest virtual memory, as copy_from_guest_pv and copy_to_guest_pv do: with the
 * guest's current page tables, at guest privilege, setting accessed and dirty bits; a fault makes the copy fail. Copies are
 * counted as work.
 */
import { PAGE_MASK, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { highWord, joinWords, lowWord, plus } from '../../core/words.ts';
import { unitsOf } from '../../core/work.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Layout } from '../abi/layout.ts';
import type { WorkMeter } from '../work.ts';

/** Virtual-to-machine translation (src/memory/mmu.ts). */
export interface Translator {
  /** Without side effects. */
  translate(cpu: Cpu, address: bigint): number | null;
  /** As an access to the byte at `address`: sets accessed and dirty bits; null where it faults. */
  resolve(cpu: Cpu, address: bigint, write: boolean): number | null;
}

// By bytes: a DataView would give each of these small arrays a buffer outside V8's heap.
const read16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
/** Signed. */
const read32 = (bytes: Uint8Array, at: number): number => read16(bytes, at) | (read16(bytes, at + 2) << 16);
const read64 = (bytes: Uint8Array, at: number): bigint => joinWords(read32(bytes, at), read32(bytes, at + 4));
function put32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (8 * i);
}
function put64(bytes: Uint8Array, at: number, value: bigint): void {
  put32(bytes, at, lowWord(value));
  put32(bytes, at + 4, highWord(value));
}

/** A copy of a structure in guest memory, with its fields by name. */
export class GuestStruct<F extends string> {
  readonly bytes: Uint8Array;
  readonly #at: Readonly<Record<F, number>>;
  constructor(bytes: Uint8Array, layout: Layout<F>) {
    this.bytes = bytes;
    this.#at = layout.at;
  }
  u8(field: F): number {
    return this.bytes[this.#at[field]]!;
  }
  u16(field: F): number {
    return read16(this.bytes, this.#at[field]);
  }
  u32(field: F): number {
    return read32(this.bytes, this.#at[field]) >>> 0;
  }
  u64(field: F, index = 0): bigint {
    return read64(this.bytes, this.#at[field] + index * 8);
  }
  setU16(field: F, value: number): void {
    const at = this.#at[field];
    this.bytes[at] = value;
    this.bytes[at + 1] = value >>> 8;
  }
  setU32(field: F, value: number): void {
    put32(this.bytes, this.#at[field], value);
  }
  setU64(field: F, value: bigint, index = 0): void {
    put64(this.bytes, this.#at[field] + index * 8, value);
  }
}

export class GuestAccess {
  readonly #memory: GuestMemory;
  readonly #mmu: Translator;
  readonly #work: WorkMeter;
  constructor(memory: GuestMemory, mmu: Translator, work: WorkMeter) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#work = work;
  }

  /** `length` bytes at `address`, or null when a page cannot be read. */
  read(cpu: Cpu, address: VirtAddr, length: number): Uint8Array | null {
    const out = new Uint8Array(length);
    return this.readInto(cpu, address, out) ? out : null;
  }
  /** Fills `out` from `address` on; false when a page cannot be read. */
  readInto(cpu: Cpu, address: VirtAddr, out: Uint8Array): boolean {
    const { length } = out;
    this.#work.charge(unitsOf(length));
    for (let done = 0; done < length; ) {
      const at = plus(address, done);
      const count = Math.min(length - done, PAGE_SIZE - (lowWord(at) & PAGE_MASK));
      const pa = this.#mmu.resolve(cpu, at, false);
      if (pa === null) return false;
      this.#memory.copyOut(pa, count, out, done);
      done += count;
    }
    return true;
  }

  /** Writes `data` at `address`; false when a page cannot be written (bytes before it have been written, as on Xen). */
  write(cpu: Cpu, address: VirtAddr, data: Uint8Array): boolean {
    this.#work.charge(unitsOf(data.length));
    for (let done = 0; done < data.length; ) {
      const at = plus(address, done);
      const count = Math.min(data.length - done, PAGE_SIZE - (lowWord(at) & PAGE_MASK));
      const pa = this.#mmu.resolve(cpu, at, true);
      if (pa === null) return false;
      this.#memory.writeBytes(pa, count === data.length ? data : data.subarray(done, done + count));
      done += count;
    }
    return true;
  }

  /** A copy of the structure at `address`, or null. */
  struct<F extends string>(cpu: Cpu, address: VirtAddr, layout: Layout<F>): GuestStruct<F> | null {
    const bytes = this.read(cpu, address, layout.bytes);
    return bytes && new GuestStruct(bytes, layout);
  }
  readU32(cpu: Cpu, address: VirtAddr): number | null {
    const bytes = this.read(cpu, address, 4);
    return bytes && read32(bytes, 0) >>> 0;
  }
  readU64(cpu: Cpu, address: VirtAddr): bigint | null {
    const bytes = this.read(cpu, address, 8);
    return bytes && read64(bytes, 0);
  }
  writeU64(cpu: Cpu, address: VirtAddr, value: bigint): boolean {
    const bytes = new Uint8Array(8);
    put64(bytes, 0, value);
    return this.write(cpu, address, bytes);
  }
}
