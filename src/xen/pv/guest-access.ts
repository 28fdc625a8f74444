/**
 * Copies between the hypervisor and guest virtual memory, as copy_from_guest_pv and copy_to_guest_pv do: with the
 * guest's current page tables, at guest privilege, setting accessed and dirty bits; a fault makes the copy fail.
 */
import { PAGE_MASK, PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import { lowWord } from '../../core/words.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Layout } from '../abi/layout.ts';

/** Virtual-to-machine translation (src/memory/mmu.ts). */
export interface Translator {
  /** Without side effects. */
  translate(cpu: Cpu, address: bigint): number | null;
  /** As an access to the byte at `address`: sets accessed and dirty bits; null where it faults. */
  resolve(cpu: Cpu, address: bigint, write: boolean): number | null;
}

/** A copy of a structure in guest memory, with its fields by name. */
export class GuestStruct<F extends string> {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #at: Readonly<Record<F, number>>;
  constructor(bytes: Uint8Array, layout: Layout<F>) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = layout.at;
  }
  u8(field: F): number {
    return this.#view.getUint8(this.#at[field]);
  }
  u16(field: F): number {
    return this.#view.getUint16(this.#at[field], true);
  }
  u32(field: F): number {
    return this.#view.getUint32(this.#at[field], true);
  }
  u64(field: F, index = 0): bigint {
    return this.#view.getBigUint64(this.#at[field] + index * 8, true);
  }
  setU16(field: F, value: number): void {
    this.#view.setUint16(this.#at[field], value, true);
  }
  setU32(field: F, value: number): void {
    this.#view.setUint32(this.#at[field], value, true);
  }
  setU64(field: F, value: bigint, index = 0): void {
    this.#view.setBigUint64(this.#at[field] + index * 8, value, true);
  }
}

export class GuestAccess {
  readonly #memory: GuestMemory;
  readonly #mmu: Translator;
  constructor(memory: GuestMemory, mmu: Translator) {
    this.#memory = memory;
    this.#mmu = mmu;
  }

  /** `length` bytes at `address`, or null when a page cannot be read. */
  read(cpu: Cpu, address: VirtAddr, length: number): Uint8Array | null {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const count = Math.min(length - done, PAGE_SIZE - (lowWord(at) & PAGE_MASK));
      const pa = this.#mmu.resolve(cpu, at, false);
      if (pa === null) return null;
      this.#memory.copyOut(pa, count, out, done);
      done += count;
    }
    return out;
  }

  /** Writes `data` at `address`; false when a page cannot be written (bytes before it have been written, as on Xen). */
  write(cpu: Cpu, address: VirtAddr, data: Uint8Array): boolean {
    for (let done = 0; done < data.length; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const count = Math.min(data.length - done, PAGE_SIZE - (lowWord(at) & PAGE_MASK));
      const pa = this.#mmu.resolve(cpu, at, true);
      if (pa === null) return false;
      this.#memory.writeBytes(pa, data.subarray(done, done + count));
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
    return bytes && new DataView(bytes.buffer).getUint32(0, true);
  }
  readU64(cpu: Cpu, address: VirtAddr): bigint | null {
    const bytes = this.read(cpu, address, 8);
    return bytes && new DataView(bytes.buffer).getBigUint64(0, true);
  }
  writeU32(cpu: Cpu, address: VirtAddr, value: number): boolean {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.write(cpu, address, bytes);
  }
  writeU64(cpu: Cpu, address: VirtAddr, value: bigint): boolean {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return this.write(cpu, address, bytes);
  }
}
