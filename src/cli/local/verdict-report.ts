/** Verdicts, and where they stand. */
import type { Tick } from '../../core/units.ts';
import type { Symbolizer } from '../../inspect/disassembly.ts';
import type { Sighting } from '../../inspect/panic.ts';
import type { VerdictReport } from '../../inspect/report.ts';
import { symbolText } from '../../inspect/symbol-text.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Verdict } from '../../x86/seam.ts';

/** A verdict with the place where it stands. */
export function verdictReport(
  { kind, message }: Verdict,
  { tick, vcpu, rip }: Sighting,
  symbols: Symbolizer,
): VerdictReport {
  return { kind, tick, vcpu, rip, symbol: symbolText(symbols, rip), message };
}
/** Where a machine stands; `tick` may be the state that an instruction in progress leads to. */
export const sighting = ({ cpu }: Machine, tick: Tick): Sighting => ({ tick, vcpu: cpu.id, rip: cpu.rip });
