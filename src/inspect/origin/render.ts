/** The answer of `origin` as a tree for people: the value first, below it what it was made of. */
import { hex } from '../../core/units.ts';
import { type Paint, tickText } from '../render.ts';
import { type OriginReport, rootText } from './report.ts';

/** A value after those on the way to it that say nothing new: stores of what was there, registers saved and restored. */
interface Folded {
  readonly report: OriginReport;
  readonly same: number;
  readonly saved: number;
}
function fold(report: OriginReport): Folded {
  let [same, saved] = [0, 0];
  let at = report;
  for (;;) {
    const [next] = at.inputs;
    if (at.inputs.length !== 1 || next!.value !== at.value) break;
    if (at.unchanged && at.machineAddress !== null) same++;
    else if (isRestored(at)) {
      saved++;
      at = next!;
    } else break;
    at = at.inputs[0]!;
  }
  return { report: at, same, saved };
}
/** A register that was pushed and popped again. */
function isRestored({ place, step, inputs: [pushed] }: OriginReport): boolean {
  const before = pushed?.inputs.length === 1 ? pushed.inputs[0]! : null;
  const register = place.replace(/\[.*\]$/, '');
  const [pop, push] = [`pop ${register}`, `push ${register}`];
  return step?.instruction === pop && pushed!.step?.instruction === push && before?.place === place;
}

export function renderOrigin(report: OriginReport, paint: Paint): string[] {
  const lines: string[] = [];
  const show = (given: OriginReport, first: string, rest: string): void => {
    const { report: one, same, saved } = fold(given);
    const value = `${paint.bold(given.place)} = ${hex(one.value)}`;
    const passed = [
      ...(same > 0 ? [`${same} ${same === 1 ? 'store' : 'stores'} of the same value passed over`] : []),
      ...(saved > 0 ? [`saved and restored ${saved} ${saved === 1 ? 'time' : 'times'}`] : []),
    ];
    const again = passed.length === 0 ? '' : paint.dim(` (${passed.join(', ')})`);
    lines.push(`${first}${value}${again}${one.above ? paint.dim(' (as above)') : ''}`);
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

/** The same for Graphviz: an arrow from what a value was made of to the value. */
export function originDot(report: OriginReport): string[] {
  const lines = ['digraph origin {', '  node [shape=box, fontname="monospace"];'];
  const ids = new Map<string, string>();
  const visit = (one: OriginReport): string => {
    const key = `${one.place} ${one.tick} ${one.step?.tick ?? 'root'}`;
    const known = ids.get(key);
    if (known !== undefined) return known;
    const id = `v${ids.size}`;
    ids.set(key, id);
    const { step } = one;
    const made = step === null ? '' : `${tickText(step.tick)}  ${step.instruction} [${step.symbol ?? hex(step.rip)}]`;
    const text = [`${one.place} = ${hex(one.value)}`, made, one.root === null ? '' : rootText(one.root)];
    lines.push(`  ${id} [label=${JSON.stringify(text.filter((x) => x !== '').join('\n'))}];`);
    for (const input of one.inputs) lines.push(`  ${visit(input)} -> ${id};`);
    return id;
  };
  visit(report);
  return [...lines, '}'];
}
