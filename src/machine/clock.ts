/**
 * Virtual time: a pure function of ticks and idle jumps. One tick is one nanosecond of a running domain; while every vCPU
 * is blocked, time jumps to the next timer.
 */
import { type Infer, integer, struct } from '../core/schema.ts';

/** Nanoseconds a tick lasts. Stands in the recording's header. */
export const NS_PER_TICK = 1;

export const clockState = struct({
  /** Steps the domain has taken. */
  tick: integer,
  /** Nanoseconds that idle jumps have added. */
  idleNs: integer,
});
export type ClockState = Infer<typeof clockState>;

/** System time in ns at `tick`. */
export const nanoseconds = (state: ClockState, tick: number): number => tick * NS_PER_TICK + state.idleNs;
/** The first tick at which system time is at least `ns`. */
export const tickOf = (state: ClockState, ns: number): number => Math.ceil((ns - state.idleNs) / NS_PER_TICK);
