/** What an instruction writes to the stack it stands on, by the registers it names: it lays something by there. */
import type { VirtAddr } from '../core/units.ts';
import type { Disassembled } from './disassembly.ts';

/** Bytes of a frame at most. */
const FRAME = 1n << 14n;

/** True where what an instruction writes is addressed by RSP, or by RBP as a frame pointer. */
export function isOnStack(
  { memory }: Disassembled,
  moment: { register(name: string, vcpu: number | null): VirtAddr | null },
  vcpu: number | null,
): boolean {
  const base = memory.find((m) => m.writes)?.base ?? null;
  if (base !== 'rbp') return base === 'rsp';
  const distance = (moment.register('rbp', vcpu) ?? 0n) - (moment.register('rsp', vcpu) ?? 0n);
  return distance >= 0n && distance < FRAME;
}
