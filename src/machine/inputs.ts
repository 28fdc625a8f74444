/**
 * The input socket: the only door through which anything from outside enters the machine.
 *
 * Two kinds of journal entry exist and never mix: a *payload* cannot be recomputed (bytes for a device, such as what is typed); a
 * *decision* follows from the machine's own state (a timer that fired, an idle jump, a switch) and is recomputed and compared, since
 * following it would hide a bug. Recording, replay and tests each implement {@link InputDoor}.
 */
import type { Tick } from '../core/units.ts';

/** Bytes for a device, given to it on reaching `tick`. */
export interface Payload {
  readonly tick: Tick;
  readonly kind: 'input';
  /** The device's id. */
  readonly device: string;
  readonly data: Uint8Array;
}

/** What the machine decided by itself at `tick`. */
export interface Decision {
  readonly tick: Tick;
  readonly kind: 'timer' | 'idle' | 'switch';
  /** timer: what fired, in order; idle: the nanoseconds jumped; switch: the vCPU switched to. */
  readonly detail: string;
}

export interface InputDoor {
  /** Payloads to apply now, in order. Asked on reaching every delivery point. */
  take(tick: Tick): readonly Payload[];
  /** The tick of the next payload where it is known (replay), else Infinity. */
  nextPayload(tick: Tick): Tick;
  /** Tells a decision; replay throws {@link Divergence} where the recording says otherwise. */
  decided(decision: Decision): void;
}

/** Replay and recording part somewhere after `from`, at `tick` at the latest. */
export class Divergence extends Error {
  override name = 'Divergence';
  readonly from: Tick;
  readonly tick: Tick;
  constructor(tick: Tick, message: string, from: Tick = tick) {
    super(message);
    this.from = from;
    this.tick = tick;
  }
}

/** A door nobody comes through: tests and runs without input. */
export const CLOSED_DOOR: InputDoor = {
  take: () => [],
  nextPayload: () => Number.POSITIVE_INFINITY,
  decided: () => {},
};
