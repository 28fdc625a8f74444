/** Looking at a machine from outside, which changes nothing of it. */
import type { VirtAddr } from '../core/units.ts';
import type { Cpu } from '../x86/cpu.ts';
import type { Machine } from './machine.ts';

/** The bytes at an address as a vCPU sees it, up to `length` and to the first that is not mapped. */
export function bytesAt({ engine }: Machine, cpu: Cpu, address: VirtAddr, length: number): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < length; i++) {
    const at = engine.mmu.translate(cpu, BigInt.asUintN(64, address + BigInt(i)));
    if (at === null) break;
    bytes.push(engine.memory.read8(at));
  }
  return Uint8Array.from(bytes);
}
