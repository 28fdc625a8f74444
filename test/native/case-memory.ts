/** The address space of oracle.h as plain code, without page tables: what the oracle CPU of the tests sees. */
import type { AccessOptions, Cpu, LinearMemory } from '../../src/x86/cpu.ts';
import { type Fault, fault } from '../../src/x86/seam.ts';
import { VECTOR } from '../../src/x86/state.ts';
import { CODE_BASE, DATA_BASE, MODE_64, PAGE, RO_BASE } from './records.ts';

/** Page-fault error code bits (SDM vol. 3A 4.7). */
const PRESENT = 1;
const WRITE = 2;
const USER = 4;
const FETCH = 16;

/** Code, data and read-only page; everything else is absent. */
export class CaseMemory implements LinearMemory {
  readonly code = new Uint8Array(PAGE);
  readonly data = new Uint8Array(PAGE);
  readonly readOnly = new Uint8Array(PAGE);
  /** Decides whether addresses must be canonical. */
  mode = MODE_64;

  #page(address: bigint): Uint8Array | null {
    const page = address & ~0xfffn;
    if (page === BigInt(DATA_BASE)) return this.data;
    if (page === BigInt(RO_BASE)) return this.readOnly;
    return page === BigInt(CODE_BASE) ? this.code : null;
  }

  /** The fault of the first byte that may not be accessed, or null. */
  #check(address: bigint, bytes: number, write: boolean, stack: boolean): Fault | null {
    const width = this.mode === MODE_64 ? 64 : 32;
    const nonCanonical = (at: bigint): boolean =>
      BigInt.asUintN(width, BigInt.asIntN(width === 64 ? 48 : 32, at)) !== at;
    if (nonCanonical(address) || nonCanonical(BigInt.asUintN(width, address + BigInt(bytes - 1))))
      return fault(stack ? VECTOR.ss : VECTOR.gp);
    for (let done = 0; done < bytes; ) {
      const at = BigInt.asUintN(width, address + BigInt(done));
      const page = this.#page(at);
      if (page === null || (write && page !== this.data))
        return fault(VECTOR.pf, USER | (write ? WRITE : 0) | (page === null ? 0 : PRESENT), at);
      done += PAGE - Number(at & 0xfffn);
    }
    return null;
  }

  load(_: Cpu, address: bigint, width: number, options?: AccessOptions): bigint | Fault {
    const failed = this.#check(address, width, false, options?.stack === true);
    if (failed !== null) return failed;
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) {
      const at = address + BigInt(i);
      value = (value << 8n) | BigInt(this.#page(at)![Number(at & 0xfffn)]!);
    }
    return value;
  }

  store(_: Cpu, address: bigint, width: number, value: bigint, options?: AccessOptions): null | Fault {
    const failed = this.#check(address, width, true, options?.stack === true);
    if (failed !== null) return failed;
    for (let i = 0; i < width; i++) {
      const at = address + BigInt(i);
      this.#page(at)![Number(at & 0xfffn)] = Number((value >> BigInt(8 * i)) & 0xffn);
    }
    return null;
  }

  probe(_: Cpu, address: bigint, bytes: number, options?: AccessOptions): null | Fault {
    return this.#check(address, bytes, true, options?.stack === true);
  }

  flush(): void {}

  /** The fault of fetching the byte at `address`, which the code page does not hold. */
  fetchFault(address: bigint): Fault {
    return fault(VECTOR.pf, USER | FETCH, address);
  }
}
