/** A guest that panicked: who called panic, and the exception behind it when there was one. */
import type { VirtAddr } from '../../core/units.ts';
import { functionName } from '../caller.ts';
import type { Finding, Inquiry } from '../investigate.ts';
import { link, NOTHING } from '../investigate.ts';
import type { Moment } from '../moment.ts';
import type { Link } from '../report.ts';
import { explainOperand, lastTraps, trapText } from './trap.ts';

/** Functions through which exceptions enter Linux and NetBSD. */
const EXCEPTION_ENTRY = /^(xen_)?asm_exc_|^exc_|^(page_fault_oops|do_user_addr_fault|trap|alltraps|calltrap)$/;

/** Explains the verdict `panic`. */
export async function explainPanic(inquiry: Inquiry): Promise<Finding> {
  const { of, frames, caller } = inquiry;
  const { tick } = of.verdict;
  const chain: Link[] = [];
  const outer = caller === null ? null : (frames.find((frame) => frame.symbol === caller) ?? null);
  if (outer !== null) chain.push({ what: `called by ${caller}`, tick, rip: outer.rip, symbol: outer.symbol });
  if (frames.some((frame) => EXCEPTION_ENTRY.test(functionName(frame) ?? ''))) {
    const [trap] = await lastTraps(of, tick, 1);
    if (trap !== undefined) {
      const blamed = await explainOperand(inquiry, trap);
      return { ...blamed, chain: [...chain, link(of, trapText(trap), trap.tick, trap.rip), ...blamed.chain] };
    }
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
