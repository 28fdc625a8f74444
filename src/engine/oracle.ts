/** The oracle tier: every instruction through the evaluator. Slow; for tests and for proving the other tiers wrong. */
import type { Program } from '../ir/program.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { Mmu } from '../memory/mmu.ts';
import { fetchRoom } from '../x86/checks.ts';
import { codeKey, modeOf, stackSizeOf } from '../x86/code-key.ts';
import type { Cpu } from '../x86/cpu.ts';
import { decode } from '../x86/decode/decode.ts';
import { emulate } from '../x86/emulate.ts';
import type { CpuPolicy, DecodeFailure, Form, Insn } from '../x86/form.ts';
import { type Fault, fault } from '../x86/seam.ts';
import { SEG, VECTOR } from '../x86/state.ts';
import { type Tier, type TierExit, unimplemented } from './tier.ts';

const MAX_LENGTH = 15;
const U32 = 0xffffffffn;

/** The bytes of the page of code around an address, or why there are none. */
type FetchPage = (linear: bigint) => Uint8Array | Fault;

/** Bytes and decoding of the instruction at `rip`, or the fault of fetching it. */
export function fetchInstruction(
  cpu: Cpu,
  policy: CpuPolicy,
  fetch: FetchPage,
): { bytes: Uint8Array; insn: Insn | DecodeFailure } | Fault {
  const key = codeKey(cpu);
  const mode = modeOf(key);
  const stackSize = stackSizeOf(key);
  const room = fetchRoom(cpu);
  if (room === 0) return fault(VECTOR.gp);
  const linear = mode === 2 ? cpu.rip : (cpu.rip + cpu.get('segmentBase', SEG.cs)) & U32;
  const offset = Number(linear & 4095n);
  const page = fetch(linear);
  if (!(page instanceof Uint8Array)) return page;
  const inside = page.subarray(offset, Math.min(4096, offset + room));
  const insn = decode(inside, 0, inside.length, offset, mode, policy, stackSize);
  if (insn !== 'short') return { bytes: typeof insn === 'string' ? inside : inside.slice(0, insn.length), insn };
  // the code segment ends in the instruction
  if (inside.length === room) return fault(VECTOR.gp);
  const following = BigInt.asUintN(mode === 2 ? 64 : 32, linear - BigInt(offset) + 4096n);
  const next = fetch(following);
  if (!(next instanceof Uint8Array)) return next;
  const bytes = new Uint8Array(MAX_LENGTH);
  bytes.set(inside);
  bytes.set(next.subarray(0, MAX_LENGTH - inside.length), inside.length);
  const across = decode(bytes, 0, room, offset, mode, policy, stackSize);
  if (across === 'short') return fault(VECTOR.gp);
  return { bytes: typeof across === 'string' ? bytes : bytes.slice(0, across.length), insn: across };
}

export class OracleTier implements Tier {
  readonly #memory: GuestMemory;
  readonly #mmu: Mmu;
  readonly #policy: CpuPolicy;
  readonly #programOf: (form: Form) => Program | null;
  #pauses: ReadonlySet<bigint> = new Set();

  constructor(memory: GuestMemory, mmu: Mmu, policy: CpuPolicy, programOf: (form: Form) => Program | null) {
    this.#memory = memory;
    this.#mmu = mmu;
    this.#policy = policy;
    this.#programOf = programOf;
  }

  /** Takes up to `steps` (at least 1) steps; none behind one that meets what is watched. */
  run(cpu: Cpu, steps: number, resume = false): TierExit {
    for (let taken = 0; taken < steps; taken++) {
      if (this.#mmu.watches.met && taken > 0) return { kind: 'steps', steps: taken };
      if (this.#pauses.has(cpu.rip) && !(resume && taken === 0)) return { kind: 'pause', steps: taken };
      const fetched = fetchInstruction(cpu, this.#policy, (linear) => {
        const page = this.#mmu.fetch(cpu, Number(linear & U32) | 0, Number(linear >> 32n) | 0);
        return page === 0 ? this.#mmu.lastFault : this.#memory.bytes.slice(page, page + 4096);
      });
      if ('fault' in fetched) return { kind: 'fault', steps: taken, fault: fetched, fetched: false };
      const { insn, bytes } = fetched;
      if (insn === 'invalid') return { kind: 'fault', steps: taken, fault: fault(VECTOR.ud), fetched: true };
      if (insn === 'long' || insn === 'short')
        return { kind: 'fault', steps: taken, fault: fault(VECTOR.gp), fetched: true };
      if (insn !== 'outside' && insn.form.system) return { kind: 'system', steps: taken, insn };
      const program = insn === 'outside' ? null : this.#programOf(insn.form);
      if (insn === 'outside' || program === null)
        return { kind: 'stop', steps: taken, stop: unimplemented(cpu, bytes) };
      const raised = emulate(cpu, insn, this.#mmu, program);
      if (raised) return { kind: 'fault', steps: taken, fault: raised, fetched: true };
    }
    return { kind: 'steps', steps };
  }

  pauseAt(addresses: ReadonlySet<bigint>): void {
    this.#pauses = addresses;
  }
  reset(): void {}
}
