/** Looking at a machine from outside, which changes nothing of it. */
import type { PhysAddr, VirtAddr } from '../core/units.ts';
import { PTE, type WalkedEntry } from '../memory/walk.ts';
import type { Cpu, LinearMemory } from '../x86/cpu.ts';
import { Flow } from '../x86/flow.ts';
import { fault } from '../x86/seam.ts';
import { VECTOR } from '../x86/state.ts';
import type { Machine } from './machine.ts';

/** A present entry that maps a large page. */
const LARGE = PTE.p | PTE.ps;

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
/** Machine byte address that a linear address maps to, or null. */
export function translate({ engine }: Machine, cpu: Cpu, address: VirtAddr): bigint | null {
  const at = engine.mmu.translate(cpu, BigInt.asUintN(64, address));
  return at === null ? null : BigInt(at);
}
/** The page-table entries that lead towards a linear address, from the root on, up to a leaf or what is missing. */
export const entriesOf = ({ engine }: Machine, cpu: Cpu, address: VirtAddr): readonly WalkedEntry[] =>
  engine.mmu.entries(cpu, BigInt.asUintN(64, address));
/** The entry that maps a linear address, or that would if it were present; null where a table before it is missing. */
export function leafEntry(machine: Machine, cpu: Cpu, address: VirtAddr): bigint | null {
  const last = entriesOf(machine, cpu, address).at(-1);
  if (last === undefined) return null;
  return last.level === 1 || (Number(last.value & 0xffn) & LARGE) === LARGE ? last.value : null;
}

/** Memory as an instruction at a vCPU would read it, without a trace; what it would write goes nowhere. */
const reader = (machine: Machine): LinearMemory => ({
  load(cpu, address, width) {
    const bytes = bytesAt(machine, cpu, address, width);
    if (bytes.length < width) return fault(VECTOR.pf, 0, address);
    return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  },
  store: () => null,
  probe: () => null,
  flush: () => {},
});
/** What flows in the instruction at a vCPU's `rip`; null where that is no program, or faults. */
export function flowAt(machine: Machine, cpu: Cpu): Flow | null {
  const view = machine.engine.instructionAt(cpu, cpu.rip);
  return view === null || typeof view.insn === 'string' ? null : Flow.of(cpu, view.insn, reader(machine));
}
/** Machine bytes that system instructions and the platform read for a guest while `act` happens: at most those. */
export function readsDuring({ engine }: Machine, act: () => void): ReadonlyArray<{ address: PhysAddr; bytes: number }> {
  const log: Array<{ address: PhysAddr; bytes: number }> = [];
  engine.mmu.readLog = log;
  try {
    act();
  } finally {
    engine.mmu.readLog = null;
  }
  return log;
}
