/**
 * Copies between the hypervisor and guest virtual memory, as copy_from_guest_pv and copy_to_guest_pv do: with the
 * guest's current page tables, at guest privilege, setting accessed and dirty bits; a fault makes the copy fail.
 */
import { PAGE_SIZE } from '../../core/units.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { isFault } from '../../x86/seam.ts';

/** Virtual-to-machine translation without side effects (src/memory/mmu.ts). */
export interface Translator {
  translate(cpu: Cpu, address: bigint): number | null;
}

export class GuestAccess {
  readonly #memory: GuestMemory;
  readonly #mmu: Translator;
  constructor(memory: GuestMemory, mmu: Translator) {
    this.#memory = memory;
    this.#mmu = mmu;
  }

  /** `length` bytes at `address`, or null when a page cannot be read. */
  read(cpu: Cpu, address: bigint, length: number): Uint8Array | null {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const count = Math.min(length - done, PAGE_SIZE - Number(at & 0xfffn));
      if (isFault(cpu.memory.load(cpu, at, 1))) return null;
      const pa = this.#mmu.translate(cpu, at);
      if (pa === null) return null;
      out.set(this.#memory.readBytes(pa, count), done);
      done += count;
    }
    return out;
  }

  /** Writes `data` at `address`; false when a page cannot be written (bytes before it have been written, as on Xen). */
  write(cpu: Cpu, address: bigint, data: Uint8Array): boolean {
    for (let done = 0; done < data.length; ) {
      const at = BigInt.asUintN(64, address + BigInt(done));
      const count = Math.min(data.length - done, PAGE_SIZE - Number(at & 0xfffn));
      if (cpu.memory.probe(cpu, at, 1) !== null) return false;
      const pa = this.#mmu.translate(cpu, at);
      if (pa === null) return false;
      this.#memory.writeBytes(pa, data.subarray(done, done + count));
      done += count;
    }
    return true;
  }

  /** A structure at `address` as a DataView, or null. */
  view(cpu: Cpu, address: bigint, length: number): DataView | null {
    const bytes = this.read(cpu, address, length);
    return bytes && new DataView(bytes.buffer);
  }
  writeU32(cpu: Cpu, address: bigint, value: number): boolean {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.write(cpu, address, bytes);
  }
  writeU64(cpu: Cpu, address: bigint, value: bigint): boolean {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return this.write(cpu, address, bytes);
  }
}
