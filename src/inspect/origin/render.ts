/** The answer of `origin` as a tree for people: the value first, below it what it was made of. */
import { hex } from '../../core/units.ts';
import { type Paint, tickText } from '../render.ts';
import { type OriginReport, rootText } from './report.ts';

/** Stores that wrote what was there already, folded into the next line. */
interface Folded {
  readonly report: OriginReport;
  readonly same: number;
}
function fold(report: OriginReport): Folded {
  let same = 0;
  let at = report;
  while (at.unchanged && at.machineAddress !== null && at.inputs.length === 1 && at.inputs[0]!.value === at.value) {
    same++;
    at = at.inputs[0]!;
  }
  return { report: same === 0 ? report : at, same };
}

export function renderOrigin(report: OriginReport, paint: Paint): string[] {
  const lines: string[] = [];
  const show = (given: OriginReport, first: string, rest: string): void => {
    const { report: one, same } = fold(given);
    const value = `${paint.bold(given.place)} = ${hex(one.value)}`;
    const again =
      same === 0 ? '' : paint.dim(` (${same} ${same === 1 ? 'store' : 'stores'} of the same value passed over)`);
    lines.push(`${first}${value}${again}`);
    const { step, root, inputs } = one;
    const bar = inputs.length > 0 ? '│ ' : '  ';
    if (step !== null) {
      const place = paint.cyan(`[${step.symbol ?? hex(step.rip)}]`);
      lines.push(`${rest}${bar}${paint.dim(tickText(step.tick))}  ${paint.yellow(step.instruction)} ${place}`);
    }
    if (root !== null) lines.push(`${rest}${bar}${paint.green(rootText(root))}`);
    // a chain goes straight down; a branch is indented
    for (const [i, input] of inputs.entries()) {
      const last = i === inputs.length - 1;
      if (inputs.length === 1) show(input, rest, rest);
      else show(input, `${rest}${last ? '└ ' : '├ '}`, `${rest}${last ? '  ' : '│ '}`);
    }
  };
  show(report, '', '');
  return lines;
}
