/**
 * What becomes of a run after a change of memory that nobody has recorded: a counterfactual, on a machine of its own. Input still comes when
 * it came; timers and everything else follow from the machine.
 */
import type { PhysAddr, Tick } from '../core/units.ts';
import type { StopSet } from '../machine/stops.ts';
import type { Stop } from '../x86/seam.ts';
import { BREATH_TICKS, type Run } from './run.ts';
import { Session } from './session.ts';
import type { Recording } from './trace-store.ts';

export interface Change {
  /** The state that is changed. */
  readonly tick: Tick;
  readonly address: PhysAddr;
  readonly bytes: Uint8Array;
}

/** How it went on, up to `tick`. */
export type Aftermath =
  /** The guest ended. */
  | { readonly kind: 'stop'; readonly stop: Stop; readonly tick: Tick }
  /** Stops were met, of these clients. */
  | { readonly kind: 'hit'; readonly tick: Tick; readonly clients: readonly string[] }
  /** Everybody waits for input. */
  | { readonly kind: 'blocked'; readonly tick: Tick }
  /** It goes on. */
  | { readonly kind: 'running'; readonly tick: Tick };

/** Runs `recording` on `run`, which is new, to the change, makes it, and goes on to `until` or to what `stops` says. */
export async function whatIf(
  run: Run,
  recording: Recording,
  { tick, address, bytes }: Change,
  until: Tick,
  stops: StopSet,
  breathe: () => Promise<void>,
): Promise<Aftermath> {
  const session = new Session(run, recording, tick);
  await session.goto(tick, breathe);
  run.machine.engine.memory.writeBytes(address, bytes);
  while (run.tick < until) {
    const end = run.slice(Math.min(until, run.tick + BREATH_TICKS), { stops });
    if (end.kind === 'stop') return { kind: 'stop', stop: end.stop, tick: run.tick };
    if (end.kind === 'hit') return { kind: 'hit', tick: run.tick, clients: end.hits.map((hit) => hit.client) };
    if (end.kind === 'blocked') return { kind: 'blocked', tick: run.tick };
    await breathe();
  }
  return { kind: 'running', tick: run.tick };
}
