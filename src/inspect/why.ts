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
import { AGAIN, type Finding, type Inquiry, type Investigator, instructionAt, OTHERWISE } from './investigate.ts';
import { tickText } from './render.ts';
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

/** Explains the ending of a run. `confirm`: runs it again without the store that is to blame. */
export async function why(of: Investigator, confirm = true): Promise<WhyReport> {
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
  const explained = explain === undefined ? null : await explain(inquiry);
  const { found, tried } = confirm ? await confirmedOf(of, explained) : { found: explained, tried: null };
  return {
    verdict,
    decides: found?.decides ?? null,
    root: found?.root ?? null,
    loop: found?.loop ?? null,
    wait: found?.wait ?? null,
    confirmed: tried?.confirmed ?? null,
    instead: tried?.instead ?? null,
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

/** What is found, tried without its store; something else that may have decided where only that makes the ending disappear. */
async function confirmedOf(
  of: Investigator,
  found: Finding | null,
): Promise<{ found: Finding | null; tried: Tried | null }> {
  const tried = found?.undo ? await tryWithout(of, found) : null;
  for (let other = found, last = tried; other?.other !== undefined && last?.confirmed === false; ) {
    other = await other.other();
    last = await tryWithout(of, other);
    if (last?.confirmed) return { found: other, tried: last };
  }
  return { found, tried };
}
interface Tried {
  readonly confirmed: boolean;
  readonly instead: string;
}
/** Whether the ending disappears where the store is undone, and what happens instead; null where that cannot be tried. */
async function tryWithout(of: Investigator, found: Finding): Promise<Tried | null> {
  const after = found.undo ? await of.undo(found.undo, found.fatal ?? null) : null;
  if (after === null) return null;
  const at = `at tick ${tickText(after.tick)}`;
  switch (after.kind) {
    case 'hit': {
      const { clients } = after;
      const again = clients.includes(AGAIN);
      const place = again ? 'the same happens' : 'the same place fails otherwise,';
      const known = again || clients.includes(OTHERWISE);
      return { confirmed: !again, instead: `${known ? place : 'the kernel panics otherwise,'} ${at}` };
    }
    case 'stop': {
      const { kind, message } = after.stop.verdict;
      const same = kind === of.verdict.kind && after.tick === of.verdict.tick;
      return { confirmed: !same, instead: `${kind} ${at}: ${message}` };
    }
    case 'blocked':
      return { confirmed: true, instead: `the guest waits for input ${at}` };
    case 'running':
      return { confirmed: true, instead: `the guest goes on, past tick ${tickText(after.tick)}` };
  }
}
