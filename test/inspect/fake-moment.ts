/** A moment made of a few bytes of memory and some registers, for tests of what reads moments. */
import type { Moment } from '../../src/inspect/moment.ts';
import { type EventPort, waitLines } from '../../src/machine/xen-pv/waits.ts';

export class FakeMoment implements Moment {
  tick = 0;
  readonly vcpu = 0;
  readonly codeBits = 64 as const;
  blocked = false;
  consoleText = '';
  readonly registers: Record<string, bigint> = {};
  readonly types = new Map<bigint, string>();
  portList: EventPort[] = [];
  upcallState = { pending: false, masked: false };
  readonly #memory = new Map<string, number>();

  /** Puts bytes at an address; linear and machine addresses are apart. */
  put(address: bigint, bytes: Iterable<number>, space: 'va' | 'ma' = 'va'): this {
    let at = address;
    for (const byte of bytes) this.#memory.set(`${space}${at++}`, byte);
    return this;
  }
  put64(address: bigint, value: bigint, space: 'va' | 'ma' = 'va'): this {
    return this.put(address, new Uint8Array(BigUint64Array.of(value).buffer), space);
  }
  register(name: string): bigint | null {
    return this.registers[name] ?? null;
  }
  read(space: 'va' | 'pa' | 'ma', address: bigint, bytes: number): bigint | null {
    let value = 0n;
    for (let i = 0; i < bytes; i++) {
      const byte = this.#memory.get(`${space}${address + BigInt(i)}`);
      if (byte === undefined) return null;
      value |= BigInt(byte) << BigInt(8 * i);
    }
    return value;
  }
  bytes(address: bigint, bytes: number): Uint8Array {
    const found: number[] = [];
    for (let i = 0; i < bytes; i++) {
      const byte = this.#memory.get(`va${address + BigInt(i)}`);
      if (byte === undefined) break;
      found.push(byte);
    }
    return Uint8Array.from(found);
  }
  translate(address: bigint): bigint | null {
    return this.#memory.has(`va${address}`) ? address & 0xffffffn : null;
  }
  frameType(frame: bigint): string | null {
    return this.types.get(frame) ?? null;
  }
  note(): void {}
  entries(): [] {
    return [];
  }
  get rip(): bigint {
    return this.registers.rip ?? 0n;
  }
  waits(vcpu: number): string[] {
    return waitLines(vcpu, this.upcallState, this.portList);
  }
}
