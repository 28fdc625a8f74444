/**
 * A PV guest that the fuzzer drives: real loader, engine and hypervisor, a playground of pages in which everything is tried, and
 * an audit after each step.
 *
 * The guest keeps a few pages out of play: its code, handlers, stack and the pages that arguments lie in. What it does to them all the
 * same can end it ("lost"), as it would any kernel.
 */

import { AMD64 } from '../../../src/xen/abi/structures.ts';
import type { HypercallEvent } from '../../../src/xen/pv/pv.ts';
import { STEP_WORK } from '../../../src/xen/work.ts';
import { concat, le } from '../../support/elf.ts';
import { auditFrames } from '../../support/frame-audit.ts';
import { heldReferences } from '../../support/held-references.ts';
import { CODE, DATA, HANDLER, PvGuest, STACK } from '../../support/pv-guest.ts';

/** Bytes that the guest stores before an action, with the rights it has. */
export interface Store {
  readonly at: bigint;
  readonly bytes: Uint8Array;
}
/** One thing that the guest does, complete in itself, so that it can be done again without what chose it. */
export type Action =
  | {
      readonly kind: 'call';
      readonly op: number;
      readonly args: readonly bigint[];
      readonly stores: readonly Store[];
      /** Operations that this call comes to where its arguments are as made; those of a multicall's entries, in order. */
      readonly names: readonly string[];
      readonly entries: ReadonlyArray<readonly string[]>;
      /** Upcalls may come. */
      readonly unmasked: boolean;
    }
  /** A store by an instruction of the guest kernel: into a page table Xen emulates it. */
  | { readonly kind: 'store'; readonly at: bigint; readonly value: bigint }
  /** Bytes typed at the console. */
  | { readonly kind: 'type'; readonly bytes: Uint8Array }
  /** The guest spins. */
  | { readonly kind: 'spin'; readonly ticks: number };

/** What became of an action: `ended`: the run did; `lost`: the guest cannot go on. */
export type Outcome = 'done' | 'ended' | 'lost';

/** Something out of order. */
export class Finding extends Error {
  override name = 'Finding';
}

export const BASE = 0xffffffff80000000n;
/** Pages that everything is tried with, by pfn; they are mapped, and begin writable. */
export const PLAYGROUND = 48;
/** Pages that are the guest's and not mapped at first. */
export const FIRST_UNMAPPED = 1024;
export const UNMAPPED = 32;
/** First page that is not mapped. */
export const MAPPED_END = BASE + 0x400000n;
/** Where the guest maps shared_info. */
export const SHARED = BASE + 200n * 4096n;
/** Pages for arguments. */
export const ARGUMENTS = DATA;
export const ARGUMENT_PAGES = 8;
/** Parts of one call, after which the guest turns to something else. */
const MAX_PARTS = 3;
/** Steps until a guest that sleeps or is in user mode has to be back. */
const MAX_DETOUR = 24;
/** Vectors below this have handlers. */
export const TRAPS = 20;
/** Stack pointer of every call: an iret finds its frame there. */
export const FRAME = STACK - 0x200n;
/** mov [rax], rbx; and a jump to itself. */
const MOV_TO_RAX = Uint8Array.of(0x48, 0x89, 0x18);
const SPIN = Uint8Array.of(0xeb, 0xfe);

export class World {
  readonly guest = new PvGuest();
  /** What the hypervisor told since the action began. */
  readonly events: HypercallEvent[] = [];
  /** Units of the largest step so far, and of no step more than this. */
  largestStep = 0;
  readonly bound: number;
  steps = 0;
  #output = 0;

  constructor() {
    const { guest } = this;
    const { xen } = guest;
    const { layout } = xen.mm.domain;
    // One entry is never cut: at most it has every frame validated as a table and released again.
    this.bound = STEP_WORK + 2 * 512 * (layout.frameLimit - layout.domainBase);
    const { charge } = xen.work;
    xen.work.charge = (units) => {
      charge.call(xen.work, units);
      if (xen.work.spent > this.bound) throw new Finding(`a step of more than ${this.bound} units`);
    };
    guest.callbacks(HANDLER, HANDLER);
    guest.write(HANDLER, SPIN);
    guest.write(CODE, concat(MOV_TO_RAX, SPIN));
    guest.ok(14, SHARED, (BigInt(layout.heapBase) << 12n) | 7n, 0);
    this.setTraps();
    guest.ok(3, 0xe02b, STACK);
    guest.bindTimer();
    xen.stream.on('hypercall', (event) => this.events.push(event));
    guest.console.onOutput = (bytes) => {
      this.#output += bytes.length;
    };
    this.audit();
  }
  /** Registers handlers of all traps. */
  setTraps(): void {
    const entries = Array.from({ length: TRAPS }, (_, vector) =>
      concat(le(vector, 1), le(0, 1), le(0xe033, 2), le(0, 4), le(HANDLER, 8)),
    );
    this.guest.write(ARGUMENTS, concat(...entries, new Uint8Array(16)));
    this.guest.ok(0, ARGUMENTS);
  }

  /** Where page `pfn` is mapped at first. */
  va(pfn: number): bigint {
    return BASE + BigInt(pfn) * 4096n;
  }
  /** The frame that page `pfn` has at first. */
  frame(pfn: number): number {
    return this.guest.xen.mm.domain.layout.domainBase + pfn;
  }

  /** What is out of order now ends the run. */
  audit(): void {
    const { xen } = this.guest;
    const wrong = auditFrames(xen.mm.domain, heldReferences(xen));
    if (wrong.length > 0) throw new Finding(wrong.join('\n'));
  }

  /** One step or idle jump, audited. */
  #step(): 'ran' | 'ended' {
    const { machine, xen } = this.guest;
    const before = xen.work.total;
    const end = machine.runTo(machine.tick + 1);
    this.steps++;
    const units = xen.work.total - before;
    if (units > this.bound) throw new Finding(`a step of ${units} units, more than ${this.bound}`);
    this.largestStep = Math.max(this.largestStep, units);
    this.audit();
    return end.kind === 'stop' ? 'ended' : 'ran';
  }

  /** Back to a kernel that runs: sleeping ends by a timer, or by an event from outside; user mode by a fault. */
  #awake(): Outcome {
    const { guest } = this;
    const { xen } = guest;
    const v = xen.vcpus[0]!;
    for (let i = 0; i < MAX_DETOUR; i++) {
      const runs = xen.runnable(0);
      if (v.kernelMode && runs) return 'done';
      if (!runs && i > 2) xen.wake(0);
      if (this.#step() === 'ended') return 'ended';
    }
    return 'lost';
  }

  #store({ at, bytes }: Store): void {
    this.guest.xen.guest.write(this.guest.cpu, at, bytes);
  }

  /** Does an action; {@link Finding} where something is out of order. */
  run(action: Action): Outcome {
    this.events.length = 0;
    const outcome = this.#awake();
    if (outcome !== 'done') return outcome;
    const { guest } = this;
    switch (action.kind) {
      case 'call':
        return this.#call(action);
      case 'store':
        this.#mask(false);
        guest.set({ rax: action.at, rbx: action.value });
        guest.cpu.rsp = FRAME;
        guest.cpu.rip = CODE;
        return this.#step() === 'ended' ? 'ended' : 'done';
      case 'type':
        guest.xen.input('console', action.bytes);
        this.audit();
        return 'done';
      default: {
        guest.cpu.rip = HANDLER;
        const end = guest.machine.runTo(guest.machine.tick + action.ticks);
        this.audit();
        return end.kind === 'stop' ? 'ended' : 'done';
      }
    }
  }
  /** The guest forgets what is pending, and masks upcalls or not. */
  #mask(unmasked: boolean): void {
    const info = AMD64.vcpuInfo.at;
    const { guest } = this;
    if (!unmasked) guest.setInfo(info.evtchn_upcall_pending, 0);
    guest.setInfo(info.evtchn_upcall_mask, unmasked ? 0 : 1);
  }

  #call(action: Extract<Action, { kind: 'call' }>): Outcome {
    const { guest } = this;
    for (const store of action.stores) this.#store(store);
    this.#mask(action.unmasked);
    for (let parts = 0, tries = 0; parts < MAX_PARTS && tries < MAX_PARTS; tries++) {
      if (parts === 0) {
        guest.prepare(action.op, ...action.args);
        guest.cpu.rsp = FRAME;
      }
      const told = this.events.length;
      if (this.#step() === 'ended') return 'ended';
      if (this.events.length > told && this.events.at(-1)!.way !== 'P') return 'done';
      if (this.events.length > told) parts++;
      // an upcall or a trap came first: once more, with flags that trap nothing
      else if (parts > 0) return 'done';
      else guest.cpu.rflags = 0x202;
    }
    return this.events.length === 0 ? 'lost' : 'done';
  }
}
