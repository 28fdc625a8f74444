/**
 * Notices a place that the guest cannot leave: a fault whose handler returns to the instruction that faults again (fault loop), or
 * an upcall behind every return from its handler (storm).
 *
 * What counts is an entry in the very step behind HYPERVISOR_iret, at the same place, with the same registers, and for a fault with
 * the same error and CR2. Whatever the handler prints, counts or faults on meanwhile, the place has not gone on by one instruction.
 * A return to the place that is not followed by such an entry is progress, and the count begins anew. So a hundred thousand pages
 * mapped from one instruction are no loop, nor is a fault that is mended and comes again.
 *
 * Everything here follows from ticks, registers and shared_info: it is the same in every tier, on every host, in a replay.
 */
import { hex, type Tick, type VirtAddr } from '../core/units.ts';
import type { Machine } from '../machine/machine.ts';
import { STATE, VECTOR } from '../x86/state.ts';
import { CHANNEL } from '../xen/pv/events.ts';
import type { TrapEvent, XenPv } from '../xen/pv/pv.ts';

/** From how many rounds on a place counts as one that cannot be left: so many, or fewer that have taken long. */
export interface ReentryLimits {
  readonly rounds: number;
  readonly slowRounds: number;
  /** Ticks that the slow rounds have taken. */
  readonly slowTicks: number;
}
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
/** Words of the general registers and of `rip`. */
const GPR_WORDS = 32;
const NONE = -1;
/** Entries at other places, which handlers may have, before one of them is looked at instead. */
const PATIENCE = 16;

export class ReentryWatch {
  readonly #machine: Machine;
  readonly #xen: XenPv;
  readonly #limits: ReentryLimits;
  readonly #words: Int32Array;
  readonly #gprs: number;
  /** The last tick at which HYPERVISOR_iret had come back to the guest, and the same where it came back to the candidate's place. */
  #returned: Tick = NONE;
  #atPlace: Tick = NONE;
  // the candidate
  readonly #registers = new Int32Array(GPR_WORDS);
  #kind: Reentry['kind'] = 'fault';
  #rip: VirtAddr = 0n;
  #flags = 0;
  #vector = 0;
  #error = 0;
  #address: VirtAddr = 0n;
  #ports: readonly number[] = [];
  #since: Tick = 0;
  #rounds = 0;
  #others = 0;

  constructor(machine: Machine, xen: XenPv, limits: ReentryLimits) {
    this.#machine = machine;
    this.#xen = xen;
    this.#limits = limits;
    this.#words = machine.engine.memory.words;
    this.#gprs = (machine.cpu.base + STATE.gpr.offset) >>> 2;
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
    if (this.#rounds > 0 && this.#machine.cpu.rip === this.#rip) this.#atPlace = tick;
  }
  trapped({ rip, vector, error, address }: TrapEvent): void {
    const tick = this.#machine.visibleAt;
    if (this.#atPlace !== NONE) this.#check(tick);
    if (tick === this.#returned + 1) this.#entered('fault', tick, rip, vector, error, address);
  }
  upcalled(rip: VirtAddr): void {
    const tick = this.#machine.visibleAt;
    if (this.#atPlace !== NONE) this.#check(tick);
    if (tick === this.#returned + 1) this.#entered('upcall', tick, rip, 0, 0, 0n);
  }

  /** The candidate, where it is stuck; null where none is. */
  stuck(): Reentry | null {
    const { rounds, slowRounds, slowTicks } = this.#limits;
    const { tick } = this.#machine;
    // it has gone on, and no event since told of it
    if (this.#atPlace !== NONE && tick > this.#atPlace) this.#check(tick);
    const long = this.#rounds >= slowRounds && tick - this.#since >= slowTicks;
    if (this.#rounds < rounds && !long) return null;
    return {
      kind: this.#kind,
      rip: this.#rip,
      vector: this.#vector,
      error: this.#error,
      address: this.#address,
      ports: this.#ports,
      rounds: this.#rounds,
    };
  }

  /** Something happens in the step to `tick`: a return to the place that led to no entry in the step behind it was progress. */
  #check(tick: Tick): void {
    if (tick !== this.#atPlace + 1) this.#rounds = 0;
    this.#atPlace = NONE;
  }

  #entered(kind: Reentry['kind'], tick: Tick, rip: VirtAddr, vector: number, error: number, address: bigint): void {
    const same =
      this.#rounds > 0 &&
      this.#kind === kind &&
      this.#rip === rip &&
      this.#vector === vector &&
      this.#error === error &&
      this.#address === address &&
      this.#flags === this.#machine.cpu.rflags &&
      this.#sameRegisters();
    if (same) {
      this.#rounds++;
      this.#others = 0;
      return;
    }
    if (this.#rounds > 0 && ++this.#others < PATIENCE) return;
    this.#kind = kind;
    this.#rip = rip;
    this.#vector = vector;
    this.#error = error;
    this.#address = address;
    this.#flags = this.#machine.cpu.rflags;
    this.#registers.set(this.#words.subarray(this.#gprs, this.#gprs + GPR_WORDS));
    this.#ports = kind === 'upcall' ? this.#pending() : [];
    this.#since = tick;
    this.#rounds = 1;
    this.#others = 0;
  }
  #sameRegisters(): boolean {
    for (let i = 0; i < GPR_WORDS; i++) if (this.#registers[i] !== this.#words[this.#gprs + i]) return false;
    return true;
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
      return `fault loop: ${MNEMONICS.get(vector) ?? `vector ${vector}`}${on}, error ${error}, at ${place}: ${rounds} times with the same registers`;
    }
    const handler = nameOf(this.#xen.vcpus[this.#machine.cpu.id]!.eventCallback.address);
    const port = `port${ports.length > 1 ? 's' : ''} ${ports.join(', ') || 'unknown'}`;
    return `storm: ${port}, handler ${handler}: ${rounds} upcalls interrupted ${place}, which went on by no step`;
  }
}
