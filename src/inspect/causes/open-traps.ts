/** Exceptions that the guest has not come back from: the ones that an ending can follow from. */
import type { Tick } from '../../core/units.ts';
import type { Investigator, RunEvent } from '../investigate.ts';

/** Steps that are followed one by one to see whether a stack is popped. */
const FOLLOWED = 2 ** 26;
/** RIP, CS, RFLAGS, RSP and SS. */
const FRAME_BYTES = 40n;
/** Bytes of a stack. */
const STACK = 1n << 16n;
/** Exceptions asked about from the last one back, beside those that follow from others. */
const ASKED = 64;
/** Steps from a delivery that failed to the end. */
const AT_THE_END: Tick = 2;

/** Those of `traps` (in order) that are open in the state at `end`, the innermost last. */
export async function openTraps(
  of: Investigator,
  traps: readonly RunEvent[],
  end: Tick = of.lastTick,
): Promise<RunEvent[]> {
  const open: RunEvent[] = [];
  let asked = 0;
  for (const trap of traps.toReversed()) {
    const [inner] = open;
    // of a handler that faults at one place again and again inside itself every one is open where the innermost is
    if (inner?.rip === trap.rip && (await isBelow(of, inner, trap))) open.unshift(trap);
    else if (++asked > ASKED) break;
    else if (await isOpen(of, trap, end)) open.unshift(trap);
  }
  return open;
}

/** Where the exception's frame was pushed: RSP behind the delivery. */
async function frameOf(of: Investigator, { tick, vcpu }: RunEvent): Promise<bigint | null> {
  if (tick + 1 > of.lastTick) return null;
  return (await of.at(tick + 1)).register('rsp', vcpu);
}
/** The frame of `inner` lies right below that of `outer`. */
async function isBelow(of: Investigator, inner: RunEvent, outer: RunEvent): Promise<boolean> {
  const below = (await of.at(inner.tick)).register('rsp', inner.vcpu);
  const above = await frameOf(of, outer);
  return below !== null && above !== null && below <= above && above - below < STACK;
}

/** Whether the frame that the delivery pushed is on the stack still: never popped, and the same words. */
async function isOpen(of: Investigator, trap: RunEvent, lastTick: Tick): Promise<boolean> {
  if (trap.tick >= lastTick - AT_THE_END) return true;
  const frame = await frameOf(of, trap);
  if (frame === null) return true;
  const end = (await of.at(lastTick)).register('rsp', trap.vcpu) ?? 0n;
  const empty = await emptied(of, trap, frame);
  if (end > empty && end - empty < STACK) return false;
  const slot = await ripSlot(of, trap, frame);
  if (slot === null) return false;
  await of.at(lastTick);
  const write = await of.lastWrite({ space: 'va', address: slot }, 8, lastTick);
  if (write !== null && write.tick > trap.tick) return false;
  const from = trap.tick + 1;
  if (lastTick - from > FOLLOWED) return true;
  return !(await of.rises(trap.vcpu, empty, from, lastTick));
}
/** The word of the frame that holds the place that was interrupted; null where none of the first does. */
async function ripSlot(of: Investigator, { tick, rip }: RunEvent, frame: bigint): Promise<bigint | null> {
  const moment = await of.at(tick + 1);
  for (let at = frame; at < frame + FRAME_BYTES; at += 8n) if (moment.read('va', at, 8) === rip) return at;
  return null;
}
/** What RSP lies above once the exception's frame is off the stack: it is where it was, or behind the frame where that began a stack. */
async function emptied(of: Investigator, { tick, vcpu }: RunEvent, frame: bigint): Promise<bigint> {
  const before = (await of.at(tick)).register('rsp', vcpu) ?? 0n;
  const same = before > frame && before - frame < STACK;
  return same ? before - 1n : frame + FRAME_BYTES;
}
