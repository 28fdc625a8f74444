/**
 * Notices a place that the guest cannot leave: a fault whose handler returns to the instruction that faults again (fault loop), or
 * an upcall behind every return from its handler (storm).
 *
 * What counts is an entry in the very step behind HYPERVISOR_iret, at the same place, with the same registers, and for a fault with
 * the same error and CR2. Nobody sees an IRETQ: faults that come again without HYPERVISOR_iret count only where a shadow, once there
 * are enough of them, comes back to the place through the handler and finds the same fault. Whatever the handler prints, counts or faults on meanwhile, the place has not gone on by one instruction.
 * A return to the place that is not followed by such an entry is progress, and the count begins anew. So a hundred thousand pages
 * mapped from one instruction are no loop, nor is a fault that is mended and comes again.
 *
 * Everything here follows from ticks, registers and shared_info: it is the same in every tier, on every host, in a replay.
 */

import { hex, type Tick, type VirtAddr } from '../../../core/units.ts';
import { type Fault, fault } from '../../../x86/seam.ts';
import { STATE, VECTOR } from '../../../x86/state.ts';
import { CHANNEL } from '../../../xen/pv/events.ts';
import type { TrapEvent, XenPv } from '../../../xen/pv/pv.ts';
import type { ReentryLimits } from '../../explanation.ts';
import type { Machine } from '../../machine.ts';
import { xenOf } from '../xen-of.ts';
import { Shadow } from './shadow.ts';

/** Some 2 CPU seconds of rounds with a short handler; a second of virtual time with a long one. */
export const REENTRY: ReentryLimits = { rounds: 2 ** 17, slowRounds: 2 ** 10, slowTicks: 2 ** 30 };

/** A place that has been entered again, and how often in a row. */
export interface Reentry {
  readonly kind: 'fault' | 'upcall';
  readonly rip: VirtAddr;
  readonly vector: number;
  readonly error: number;
  /** CR2 of a page fault. */
  readonly address: VirtAddr;
  /** Ports that were pending and not masked as an upcall came. */
  readonly ports: readonly number[];
  readonly rounds: number;
}

/** Names of exceptions, as SDM vol. 3A table 6-1 has them. */
const MNEMONICS = new Map<number, string>(
  Object.entries(VECTOR).map(([name, vector]) => [vector, `#${name.toUpperCase()}`]),
);
/** Exceptions that bring an error code (SDM vol. 3A table 6-1). */
const WITH_ERROR: ReadonlySet<number> = new Set([
  VECTOR.df,
  VECTOR.ts,
  VECTOR.np,
  VECTOR.ss,
  VECTOR.gp,
  VECTOR.pf,
  VECTOR.ac,
]);
/** Words of the general registers and of `rip`. */
const GPR_WORDS = 32;
const NONE = -1;
/** Bit of a page fault's error code. */
const WRITE = 2;
/** Steps of a handler that a shadow follows. */
const HANDLER_STEPS = 2 ** 15;
/** Entries at other places, which handlers may have, before one of them is looked at instead. */
const PATIENCE = 16;

/** What an entry is compared by. */
interface Entry extends Fault {
  readonly kind: Reentry['kind'];
  readonly rip: VirtAddr;
}

/** An entry that has been met, and how often in a row. */
class Candidate {
  readonly #machine: Machine;
  readonly #words: Int32Array;
  readonly #gprs: number;
  readonly registers = new Int32Array(GPR_WORDS);
  flags = 0;
  entry: Entry = { ...fault(NONE), kind: 'fault', rip: 0n };
  ports: readonly number[] = [];
  rounds = 0;
  #since: Tick = 0;
  #others = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#words = machine.engine.memory.words;
    this.#gprs = (machine.cpu.base + STATE.gpr.offset) >>> 2;
  }
  /** An entry at `tick`; true where it is a new candidate. */
  entered(entry: Entry, tick: Tick): boolean {
    if (this.rounds > 0 && this.#isSame(entry)) {
      this.rounds++;
      this.#others = 0;
      return false;
    }
    if (this.rounds > 0 && ++this.#others < PATIENCE) return false;
    this.entry = entry;
    this.flags = this.#machine.cpu.rflags;
    this.registers.set(this.#words.subarray(this.#gprs, this.#gprs + GPR_WORDS));
    this.#since = tick;
    this.rounds = 1;
    this.#others = 0;
    return true;
  }
  #isSame({ kind, rip, vector, error, address }: Entry): boolean {
    const { entry } = this;
    if (entry.rip !== rip || entry.kind !== kind || entry.vector !== vector) return false;
    if (entry.error !== error || entry.address !== address || this.flags !== this.#machine.cpu.rflags) return false;
    for (let i = 0; i < GPR_WORDS; i++) if (this.registers[i] !== this.#words[this.#gprs + i]) return false;
    return true;
  }
  /** It has come so often, or for so long, that it counts. */
  isStuck({ rounds, slowRounds, slowTicks }: ReentryLimits, tick: Tick): boolean {
    return this.rounds >= rounds || (this.rounds >= slowRounds && tick - this.#since >= slowTicks);
  }
  get found(): Reentry {
    const { entry, ports, rounds } = this;
    return { ...entry, ports, rounds };
  }
}

export class ReentryWatch {
  readonly #machine: Machine;
  readonly #xen: XenPv;
  readonly #limits: ReentryLimits;
  /** The last tick at which HYPERVISOR_iret had come back to the guest, and the same where it came back to the candidate's place. */
  #returned: Tick = NONE;
  #atPlace: Tick = NONE;
  /** Entries in the step behind HYPERVISOR_iret, and faults without it. */
  readonly #behind: Candidate;
  readonly #native: Candidate;

  constructor(machine: Machine, limits: ReentryLimits) {
    this.#machine = machine;
    this.#xen = xenOf(machine)!;
    this.#limits = limits;
    this.#behind = new Candidate(machine);
    this.#native = new Candidate(machine);
  }

  /** A hypercall other than iret. */
  called(): void {
    if (this.#atPlace !== NONE) this.#check(this.#machine.visibleAt);
  }
  /** HYPERVISOR_iret has set the registers. */
  returned(): void {
    const tick = this.#machine.visibleAt;
    if (this.#atPlace !== NONE) this.#check(tick);
    this.#returned = tick;
    if (this.#behind.rounds > 0 && this.#machine.cpu.rip === this.#behind.entry.rip) this.#atPlace = tick;
  }
  trapped({ rip, vector, error, address }: TrapEvent): void {
    const tick = this.#machine.visibleAt;
    if (this.#atPlace !== NONE) this.#check(tick);
    const entry: Entry = { ...fault(vector, error, address), kind: 'fault', rip };
    (tick === this.#returned + 1 ? this.#behind : this.#native).entered(entry, tick);
  }
  upcalled(rip: VirtAddr): void {
    const tick = this.#machine.visibleAt;
    if (this.#atPlace !== NONE) this.#check(tick);
    if (tick !== this.#returned + 1) return;
    if (this.#behind.entered({ ...fault(0), kind: 'upcall', rip }, tick)) this.#behind.ports = this.#pending();
  }

  /** The candidate, where it is stuck; null where none is. */
  stuck(): Reentry | null {
    const { tick } = this.#machine;
    // it has gone on, and no event since told of it
    if (this.#atPlace !== NONE && tick > this.#atPlace) this.#check(tick);
    if (this.#behind.isStuck(this.#limits, tick)) return this.#behind.found;
    if (!this.#native.isStuck(this.#limits, tick)) return null;
    if (this.#faultsAgain(this.#native)) return this.#native.found;
    this.#native.rounds = 0;
    return null;
  }
  /** The handler leads back to the place, and the same fault comes there. */
  #faultsAgain({ entry, registers, flags }: Candidate): boolean {
    const shadow = new Shadow(this.#machine);
    const isHere = (): boolean => {
      const { cpu, state } = shadow;
      if (cpu.rip !== entry.rip || cpu.rflags !== flags) return false;
      return new Int32Array(state.buffer, STATE.gpr.offset, GPR_WORDS).every((word, i) => word === registers[i]);
    };
    const isFaulting = (): boolean => {
      if (entry.vector === VECTOR.pf) return !shadow.memory.isMapped(entry.address, (entry.error & WRITE) !== 0);
      return !shadow.step() && shadow.fault?.vector === entry.vector;
    };
    shadow.memory.handles = true;
    if (isHere() && !shadow.trap(entry)) return false;
    while (shadow.steps < HANDLER_STEPS)
      if (!shadow.step()) return false;
      else if (shadow.returned && isHere()) return isFaulting();
    return false;
  }

  /** Something happens in the step to `tick`: a return to the place that led to no entry in the step behind it was progress. */
  #check(tick: Tick): void {
    if (tick !== this.#atPlace + 1) this.#behind.rounds = 0;
    this.#atPlace = NONE;
  }

  #pending(): number[] {
    const { events } = this.#xen;
    return events.state.channels.flatMap(({ state }, port) =>
      state !== CHANNEL.closed && events.isPending(port) && !events.isMasked(port) ? [port] : [],
    );
  }

  /** What cannot be left, in words; `nameOf` names code. */
  describe(
    { kind, rip, vector, error, address, ports, rounds }: Reentry,
    nameOf: (address: VirtAddr) => string,
  ): string {
    const place = nameOf(rip);
    if (kind === 'fault') {
      const on = vector === VECTOR.pf ? ` on ${hex(address)}` : '';
      const code = WITH_ERROR.has(vector) ? `, error ${error}` : '';
      return `fault loop: ${MNEMONICS.get(vector) ?? `vector ${vector}`}${on}${code}, at ${place}: ${rounds} times with the same registers`;
    }
    const handler = nameOf(this.#xen.vcpus[this.#machine.cpu.id]!.eventCallback.address);
    const port = `port${ports.length > 1 ? 's' : ''} ${ports.join(', ') || 'unknown'}`;
    return `storm: ${port}, handler ${handler}: ${rounds} upcalls interrupted ${place}, which went on by no step`;
  }
}
