/**
 * Comparison of two hypercall logs in operation, sub-operation and return value. Arguments are not compared: they hold
 * machine frames, times and addresses that differ from host to host. Yields are left out altogether, since how often a
 * guest has to yield (down to not at all) depends on how fast its backends answer.
 */
import { nameOf, subOperationOf } from './names.ts';
import type { Call } from './trace.ts';

/** Two stretches that stand at the same place and are not equal; one of them may be empty. */
export interface Difference {
  expected: Call[];
  ours: Call[];
}

/** How often a call occurs, by its name. */
export interface CountRow {
  name: string;
  expected: number;
  ours: number;
}

/** The outcome; `differences` is in order and empty when the logs agree. */
export interface Comparison {
  equalCalls: number;
  differences: Difference[];
  /** True when the logs could not be brought together again after the last difference. */
  lost: boolean;
  counts: CountRow[];
  yields: { expected: number; ours: number };
}

const SCHED_OP_COMPAT = 6;
const GET_DEBUGREG = 9;
const MEMORY_OP = 12;
const MAXIMUM_RAM_PAGE = 2;
const SET_TIMER_OP = 15;
const IRET = 23;
const VCPU_OP = 24;
const SET_SINGLESHOT_TIMER = 8;
const SCHED_OP = 29;
const YIELD = 0;

/** How far apart the logs may drift before they count as lost, in calls of both together. */
const MAX_DRIFT_CALLS = 400;
/** How many calls in a row must agree for the logs to count as together again. */
const RESYNC_CALLS = 4;

const isYield = (call: Call): boolean =>
  (call.op === SCHED_OP || call.op === SCHED_OP_COMPAT) && subOperationOf(call.op, call.args) === YIELD;

const armsTimer = (call: Call): boolean =>
  call.op === SET_TIMER_OP || (call.op === VCPU_OP && subOperationOf(call.op, call.args) === SET_SINGLESHOT_TIMER);

/** The log up to, and without, the first call that arms a timer; the whole log when none does. */
export function untilFirstTimer(calls: readonly Call[]): Call[] {
  const end = calls.findIndex(armsTimer);
  return calls.slice(0, end < 0 ? calls.length : end);
}

/** True when the return value says something about the machine or nothing at all, and so is not compared. */
function hasLocalResult(call: Call): boolean {
  if (call.op === IRET || call.op === GET_DEBUGREG) return true;
  return call.op === MEMORY_OP && subOperationOf(call.op, call.args) === MAXIMUM_RAM_PAGE;
}

function isSameCall(a: Call, b: Call): boolean {
  return a.op === b.op && nameOf(a.kind, a.op, a.args) === nameOf(b.kind, b.op, b.args);
}

function agree(a: Call, b: Call): boolean {
  return isSameCall(a, b) && (a.ret === b.ret || hasLocalResult(a));
}

/** Compares two logs of one vCPU each and lists where they differ. */
export function compareCalls(expectedLog: readonly Call[], ourLog: readonly Call[]): Comparison {
  const expected = expectedLog.filter((call) => !isYield(call));
  const ours = ourLog.filter((call) => !isYield(call));
  const differences: Difference[] = [];
  let equalCalls = 0;
  let lost = false;
  let i = 0;
  let j = 0;
  while (i < expected.length || j < ours.length) {
    if (i < expected.length && j < ours.length && agree(expected[i]!, ours[j]!)) {
      equalCalls++;
      i++;
      j++;
      continue;
    }
    const skip = findResync(expected, i, ours, j);
    differences.push({ expected: expected.slice(i, i + skip.expected), ours: ours.slice(j, j + skip.ours) });
    lost = skip.lost;
    i += skip.expected;
    j += skip.ours;
  }
  return {
    equalCalls,
    differences,
    lost,
    counts: countRows(expected, ours),
    yields: { expected: expectedLog.length - expected.length, ours: ourLog.length - ours.length },
  };
}

/** The smallest skip after which the logs agree again; the rest of both when there is none nearby (`lost` if both have one). */
function findResync(
  expected: readonly Call[],
  i: number,
  ours: readonly Call[],
  j: number,
): { expected: number; ours: number; lost: boolean } {
  const restExpected = expected.length - i;
  const restOurs = ours.length - j;
  if (restExpected > 0 && restOurs > 0 && isSameCall(expected[i]!, ours[j]!))
    return { expected: 1, ours: 1, lost: false };
  for (let total = 1; total <= Math.min(MAX_DRIFT_CALLS, restExpected + restOurs); total++) {
    for (const skipExpected of fromTheMiddle(total)) {
      const skipOurs = total - skipExpected;
      if (skipExpected > restExpected || skipOurs > restOurs) continue;
      if (agreeFrom(expected, i + skipExpected, ours, j + skipOurs))
        return { expected: skipExpected, ours: skipOurs, lost: false };
    }
  }
  return { expected: restExpected, ours: restOurs, lost: restExpected > 0 && restOurs > 0 };
}

/** 0 to `total`, the middle first: a changed call is likelier than a run of missing ones. */
function* fromTheMiddle(total: number): Generator<number> {
  const middle = Math.floor(total / 2);
  for (let step = 0; step <= total; step++) {
    if (middle + step <= total) yield middle + step;
    if (step > 0 && middle - step >= 0) yield middle - step;
  }
}

function agreeFrom(expected: readonly Call[], i: number, ours: readonly Call[], j: number): boolean {
  const length = Math.min(RESYNC_CALLS, expected.length - i, ours.length - j);
  if (length === 0) return false;
  for (let k = 0; k < length; k++) if (!agree(expected[i + k]!, ours[j + k]!)) return false;
  return true;
}

function countRows(expected: readonly Call[], ours: readonly Call[]): CountRow[] {
  const rows = new Map<string, CountRow>();
  const count = (calls: readonly Call[], side: 'expected' | 'ours'): void => {
    for (const call of calls) {
      const error = call.ret < 0n ? ` (err ${call.ret})` : '';
      const name = nameOf(call.kind, call.op, call.args) + error;
      if (!rows.has(name)) rows.set(name, { name, expected: 0, ours: 0 });
      rows.get(name)![side]++;
    }
  };
  count(expected, 'expected');
  count(ours, 'ours');
  return [...rows.values()];
}
