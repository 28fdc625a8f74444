/** A guest that panicked: who called panic, and the exception behind it when there was one. */
import type { VirtAddr } from '../../core/units.ts';
import type { Finding, Inquiry } from '../investigate.ts';
import { link, NOTHING } from '../investigate.ts';
import type { Moment } from '../moment.ts';
import type { Link } from '../report.ts';
import { openTraps } from './open-traps.ts';
import { explainOperand, lastTraps, trapText } from './trap.ts';

/** Ticks before a panic in which the exception behind it is looked for, and how many of them are. */
const TRAP_TICKS = 2 ** 26;
const LAST_TRAPS = 256;
/** #BP and #UD. */
const DELIBERATE: ReadonlySet<bigint> = new Set([3n, 6n]);

/** Explains the verdict `panic`. */
export async function explainPanic(inquiry: Inquiry): Promise<Finding> {
  const { of, frames, caller } = inquiry;
  const { tick } = of.verdict;
  const chain: Link[] = [];
  const outer = caller === null ? null : (frames.find((frame) => frame.symbol === caller) ?? null);
  if (outer !== null) chain.push({ what: `called by ${caller}`, tick, rip: outer.rip, symbol: outer.symbol });
  const from = Math.max(of.firstTick, tick - TRAP_TICKS);
  const open = await openTraps(of, await lastTraps(of, tick, LAST_TRAPS, from), tick);
  // BUG() and breakpoints are the kernel's own: what it says of itself is the cause
  const trap = open.findLast((x) => !DELIBERATE.has(x.fields.vector ?? 0n));
  if (trap !== undefined) {
    const blamed = await explainOperand(inquiry, trap);
    return { ...blamed, chain: [...chain, link(of, trapText(trap), trap.tick, trap.rip), ...blamed.chain] };
  }
  const moment = await of.at(tick);
  const call = outer === null || outer === frames[0] ? null : callBefore(inquiry, moment, outer.rip);
  return { ...NOTHING, chain, instruction: call };
}

/** The call instruction that ends at a return address. */
function callBefore({ disassembler }: Inquiry, moment: Moment, end: VirtAddr): string | null {
  for (const length of [5, 2, 3, 6, 7, 4]) {
    const start = end - BigInt(length);
    const found = disassembler.decode(moment.bytes(start, length), start, moment.codeBits);
    if (found?.bytes.length === length && /call$/.test(found.flow)) return found.text;
  }
  return null;
}
