/**
 * Who wrote something last: looks back from a tick, in windows that grow, by running each again with a tracer (vCPU state) or a watch
 * (memory) in place.
 */
import { EmulatorError } from '../../core/errors.ts';
import type { PhysAddr, Tick } from '../../core/units.ts';
import { readsDuring } from '../../machine/look.ts';
import { SlotWrites, type StepKind, StepWatch } from '../../machine/step-trace.ts';
import { type StopCondition, StopSet } from '../../machine/stops.ts';
import type { Checkpoint } from '../../timeline/checkpoints.ts';
import { BREATH_TICKS } from '../../timeline/run.ts';
import type { Session } from '../../timeline/session.ts';
import type { SearchHooks } from '../search.ts';

/** Lengths of the windows looked at one behind the other; further back it is from one known state to the next. */
const WINDOWS = [2 ** 6, 2 ** 10, 2 ** 13, 2 ** 16, 2 ** 18, 2 ** 20];

/** Bytes of a vCPU's state or of machine memory. */
export type Bytes =
  | { readonly space: 'state'; readonly vcpu: number; readonly offset: number; readonly bytes: number }
  | { readonly space: 'memory'; readonly address: PhysAddr; readonly bytes: number };

/** The bytes of `place` from byte `from` on. */
export const part = (place: Bytes, from: number, bytes: number): Bytes =>
  place.space === 'state'
    ? { ...place, offset: place.offset + from, bytes }
    : { ...place, address: place.address + from, bytes };

export class Past {
  readonly #session: Session;
  readonly #hooks: SearchHooks;

  constructor(session: Session, hooks: SearchHooks) {
    this.#session = session;
    this.#hooks = hooks;
  }

  /** The bytes at a place as the session stands. */
  read(place: Bytes): Uint8Array {
    const { engine } = this.#session.run.machine;
    if (place.space === 'memory') return engine.memory.readBytes(place.address, place.bytes);
    const { view, base } = engine.cpus[place.vcpu]!;
    return Uint8Array.from({ length: place.bytes }, (_, i) => view.getUint8(base + place.offset + i));
  }

  /**
   * The tick that the last step before the state at `before` started from which wrote any of the bytes, be it what they held; null when
   * none did since `least`.
   */
  async lastWrite(place: Bytes, before: Tick, least: Tick = 0): Promise<Tick | null> {
    return this.#last(before, least, async (start, end) => {
      if (place.space === 'memory' && !this.#session.mayHaveWritten(place.address, start, end)) return null;
      await this.#session.goto(start, this.#hooks.breathe);
      return place.space === 'state' ? this.#stateWrite(place, end) : this.#access(place, 'write', end);
    });
  }
  /** The tick that `look` finds in the last window where it finds one. */
  async #last(before: Tick, least: Tick, look: (start: Tick, end: Tick) => Promise<Tick | null>): Promise<Tick | null> {
    let end = before;
    for (let i = 0; end > least; i++) {
      const start = Math.max(least, this.#windowBefore(end, i));
      const found = await look(start, end);
      if (found !== null) return found;
      end = start;
      this.#hooks.progress(before - end, before - least);
    }
    return null;
  }
  /** Where the window number `i` begins, whose end that is: each tick is run again once, whatever the distance. */
  #windowBefore(end: Tick, i: number): Tick {
    const length = WINDOWS[i];
    return length === undefined ? (this.#session.startsBefore(end)[0] ?? 0) : end - length;
  }
  /** The last step from `least` to before `before` that read any of the bytes; null where none did. */
  async lastRead(place: Bytes & { space: 'memory' }, before: Tick, least: Tick): Promise<Tick | null> {
    return this.#last(before, least, async (start, end) => {
      await this.#session.goto(start, this.#hooks.breathe);
      return this.#access(place, 'read', end);
    });
  }
  async #stateWrite({ vcpu, offset, bytes }: Bytes & { space: 'state' }, end: Tick): Promise<Tick | null> {
    const { machine } = this.#session.run;
    const writes = new SlotWrites(machine, vcpu, offset, bytes);
    machine.engine.trace(writes);
    try {
      await this.#forward(end, StopSet.NONE, () => {});
    } finally {
      machine.engine.trace(null);
    }
    return writes.last;
  }
  async #access(
    { address, bytes }: Bytes & { space: 'memory' },
    access: 'read' | 'write',
    end: Tick,
  ): Promise<Tick | null> {
    const condition: StopCondition = { kind: 'access', access, address, bytes };
    let last: Tick | null = null;
    await this.#forward(end, StopSet.of('origin', [condition]), () => {
      last = this.#session.tick - 1;
    });
    return last;
  }
  async #forward(end: Tick, stops: StopSet, hit: () => void): Promise<void> {
    const session = this.#session;
    for (let looks = 0; session.tick < end; looks++) {
      const stopped = session.forward(Math.min(end, session.tick + BREATH_TICKS), { stops });
      if (stopped.kind === 'hit') hit();
      if (stopped.kind === 'stop' || stopped.kind === 'blocked') return;
      if (stopped.kind !== 'hit' || looks % 1024 === 0) await this.#hooks.breathe();
    }
  }
  /** Goes to `tick` and tells what takes the step from there. */
  async stepAt(tick: Tick): Promise<StepKind> {
    const session = this.#session;
    const { engine } = session.run.machine;
    await session.goto(tick, this.#hooks.breathe);
    const here = session.checkpoint();
    const watch = new StepWatch();
    engine.trace(watch);
    try {
      session.step();
    } finally {
      engine.trace(null);
      session.restore(here);
    }
    return watch.step;
  }
  // ---- by trying ----------------------------------------------------------------------------------------------------

  /**
   * What the step from the present tick, which is no instruction's by itself, moves into the bytes at `place`: found by changing a bit of
   * what it may have read and taking the step, which has to change the same bit there. The session stands where it stood.
   */
  moved(place: Bytes): ReadonlyArray<{ readonly from: Bytes; readonly to: number }> {
    const session = this.#session;
    const here = session.checkpoint();
    const out: Array<{ from: Bytes; to: number }> = [];
    try {
      const reads = readsDuring(session.run.machine, () => session.step());
      const after = this.read(place);
      session.restore(here);
      const candidates = this.#candidates(reads, after);
      for (let to = 0; to < place.bytes; to++) {
        const from = candidates.find((x) => this.#moves(x, place, to, after, here));
        if (from !== undefined) out.push({ from, to });
      }
      return this.#whole(out, after);
    } finally {
      session.restore(here);
    }
  }
  /**
   * All of a register where a byte of it was moved and the word is its value: changing other bytes of a stack pointer moves the frame that
   * it is saved in.
   */
  #whole(moved: Array<{ from: Bytes; to: number }>, after: Uint8Array): Array<{ from: Bytes; to: number }> {
    if (after.length !== REGISTER_BYTES) return moved;
    for (const { from } of moved) {
      if (from.space !== 'state') continue;
      const offset = from.offset - (from.offset % REGISTER_BYTES);
      const register: Bytes = { ...from, offset, bytes: REGISTER_BYTES };
      if (this.read(register).every((x, i) => x === after[i]))
        return Array.from(after, (_, i) => ({ from: part(register, i, 1), to: i }));
    }
    return moved;
  }
  /**
   * Bytes that may have been moved: of registers, and of what has been read where the platform minds no change; those whose value is
   * found again.
   */
  #candidates(reads: ReadonlyArray<{ address: PhysAddr; bytes: number }>, values: Uint8Array): Bytes[] {
    const { explanation, machine } = this.#session.run;
    const { cpu } = machine;
    const out: Bytes[] = [];
    const offer = (place: Bytes): void => {
      for (const [i, value] of this.read(place).entries()) if (values.includes(value)) out.push(part(place, i, 1));
    };
    for (const { address, bytes } of reads)
      if (explanation.isPlain(address)) offer({ space: 'memory', address, bytes: Math.min(bytes, READ_BYTES) });
    offer({ space: 'state', vcpu: cpu.id, offset: 0, bytes: GPR_BYTES });
    return out;
  }
  #moves(from: Bytes, place: Bytes, to: number, after: Uint8Array, here: Checkpoint): boolean {
    const session = this.#session;
    const [value] = this.read(from);
    if (value !== after[to]) return false;
    return [1, 0x20, 0x80, 2, 4, 8, 0x10, 0x40].some((bit) => {
      session.restore(here);
      this.#change(from, value! ^ bit);
      try {
        session.step();
        const changed = this.read(place);
        return changed.every((x, i) => x === (i === to ? after[i]! ^ bit : after[i]!));
      } catch (error) {
        // the run takes another way than the recorded one
        if (error instanceof EmulatorError || (error as Error).name === 'Divergence') return false;
        throw error;
      } finally {
        session.restore(here);
      }
    });
  }
  #change(place: Bytes, value: number): void {
    const { engine } = this.#session.run.machine;
    if (place.space === 'memory') engine.memory.write8(place.address, value);
    else engine.cpus[place.vcpu]!.view.setUint8(engine.cpus[place.vcpu]!.base + place.offset, value);
  }
}

/** Bytes looked at of one read. */
const READ_BYTES = 512;
/** The general registers come first in the state. */
const REGISTER_BYTES = 8;
const GPR_BYTES = 16 * REGISTER_BYTES;
