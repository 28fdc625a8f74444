/**
 * The first state at which a predicate on the console alone holds: answered from the console's log, without running.
 */
import type { Tick } from '../core/units.ts';
import type { ConsoleLog } from '../timeline/console-log.ts';
import type { Predicate } from './expression.ts';

/** `console ~ "..."` and nothing else. */
const ONE_PATTERN = /^\s*console\s*~\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*$/;
/** Patterns that may look at what follows a match: more text could undo it. Escapes that may spell one count as well. */
const LOOKS_AHEAD = /\$|\(\?[=!]|\\+[bBuxc]/;
/** Evaluations between two breaths. */
const PROBES_PER_BREATH = 64;

/** Whether a predicate that holds for a text holds for every text that begins with it. */
export function staysTrue(source: string): boolean {
  const pattern = ONE_PATTERN.exec(source)?.[1];
  return pattern !== undefined && !LOOKS_AHEAD.test(pattern);
}

/** A scope in which only the console is there. */
const NOWHERE = {
  register: () => null,
  read: () => null,
  pte: () => null,
  ask: () => null,
  event: null,
} as const;

/** The first tick in `from` to `to`, or null, and how often the predicate was evaluated; the log must know the range. */
export async function firstInConsole(
  predicate: Predicate,
  log: ConsoleLog,
  range: { readonly from: Tick; readonly to: Tick },
  breathe: () => Promise<void>,
): Promise<{ readonly tick: Tick | null; readonly probes: number }> {
  const { from, to } = range;
  const ticks = [from, ...log.ticks.filter((t) => t > from && t <= to)];
  let probes = 0;
  const holds = async (index: number): Promise<boolean> => {
    if (++probes % PROBES_PER_BREATH === 0) await breathe();
    return predicate.holds({ ...NOWHERE, consoleText: log.textAt(ticks[index]!) });
  };
  const last = ticks.length - 1;
  if (from > 0) predicate.begin({ ...NOWHERE, consoleText: log.textAt(from - 1) });
  if (!staysTrue(predicate.source)) {
    for (let i = 0; i <= last; i++) if (await holds(i)) return { tick: ticks[i]!, probes };
    return { tick: null, probes };
  }
  if (!(await holds(last))) return { tick: null, probes };
  let [low, high] = [0, last];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (await holds(middle)) high = middle;
    else low = middle + 1;
  }
  return { tick: ticks[high]!, probes };
}
