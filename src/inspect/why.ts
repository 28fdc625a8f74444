/**
 * Why a run ended as it did: from the verdict back to the instruction that is to blame. Each kind of ending has its file in causes/.
 */
import { backtrace } from './backtrace.ts';
import { callerOf } from './caller.ts';
import { explainCrash } from './causes/crash.ts';
import { explainHang } from './causes/hang.ts';
import { explainPanic } from './causes/panic.ts';
import { explainTrap } from './causes/trap.ts';
import { Disassembler } from './disassembly.ts';
import { type Finding, type Inquiry, type Investigator, instructionAt } from './investigate.ts';
import type { Link, VerdictReport, WhyReport } from './report.ts';
import { symbolText } from './symbol-text.ts';

type Explain = (inquiry: Inquiry) => Promise<Finding>;

const EXPLANATIONS: Partial<Record<VerdictReport['kind'], Explain>> = {
  crash: explainCrash,
  panic: explainPanic,
  'triple-fault': explainTrap,
  hang: explainHang,
  limit: explainHang,
  stopped: explainHang,
};

/** Explains the ending of a run. */
export async function why(of: Investigator): Promise<WhyReport> {
  const last = await of.at(of.lastTick);
  const { consoleText } = last;
  const moment = of.verdict.tick === of.lastTick ? last : await of.at(of.verdict.tick);
  // Which modules there are is known where the verdict stands only.
  const { rip } = of.verdict;
  const verdict = { ...of.verdict, symbol: rip === null ? null : symbolText(of.symbols, rip) };
  const disassembler = new Disassembler(of.symbols);
  const frames = backtrace(moment, of.symbols, verdict.vcpu);
  const instruction = instructionAt(disassembler, moment, moment.register('rip', verdict.vcpu) ?? 0n);
  const caller = callerOf(frames);
  const explain = EXPLANATIONS[verdict.kind];
  const inquiry: Inquiry = { of, disassembler, frames, caller, consoleText };
  const found = explain === undefined ? null : await explain(inquiry);
  return {
    verdict,
    decides: found?.decides ?? null,
    root: found?.root ?? null,
    loop: found?.loop ?? null,
    wait: found?.wait ?? null,
    confirmed: null,
    chain: [verdictLink(verdict), ...(found?.chain ?? [])],
    instruction: found?.instruction ?? instruction,
    operand: found?.operand ?? null,
    lastWriter: found?.lastWriter ?? null,
    caller,
    backtrace: frames,
  };
}

const verdictLink = ({ kind, message, tick, rip, symbol }: VerdictReport): Link => ({
  what: `${kind}: ${message}`,
  tick,
  rip,
  symbol,
});
