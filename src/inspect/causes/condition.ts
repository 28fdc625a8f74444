/** A kernel that gives up by itself: the branch that led there, and where what it asked came from. */
import type { Tick } from '../../core/units.ts';
import { MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import { type Finding, type Inquiry, instructionAt, link, NOTHING } from '../investigate.ts';
import { symbolText } from '../symbol-text.ts';
import { rootOf } from './root.ts';

/** What decided, and the tick of the step that made the value asked about, where the processor or the platform made it. */
export interface Condition {
  readonly finding: Finding;
  readonly made: Tick | null;
}

/** The branch before the step at `tick` of its function or of one that calls it. */
export async function byCondition(inquiry: Inquiry, tick: Tick, vcpu: number): Promise<Condition> {
  const { of, disassembler } = inquiry;
  const branch = await of.branchBefore(tick, vcpu);
  if (branch === null) return { finding: NOTHING, made: null };
  const moment = await of.at(branch);
  const rip = moment.register('rip', vcpu) ?? 0n;
  const next = rip + BigInt(disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip)?.bytes.length ?? 0);
  const instruction = instructionAt(disassembler, moment, rip);
  const taken = (await of.at(branch + 1)).register('rip', vcpu) !== next;
  const text = `the kernel gave up because ${instruction} was ${taken ? 'taken' : 'not taken'}`;
  const place = { space: 'register' as const, name: 'flags', vcpu };
  const { root, chain, undo } = await rootOf(inquiry, { role: 'condition', text, place, tick: branch });
  const decides = { role: 'condition', text, tick: branch, rip, symbol: symbolText(of.symbols, rip) };
  const finding = {
    ...{ ...NOTHING, chain: [link(of, text, branch, rip), ...chain], instruction, operand: text },
    ...{ lastWriter: root?.store ?? null, decides, root, undo },
  };
  return { finding, made: root?.source.kind === 'made' ? root.source.tick : null };
}
