/**
 * Reports as text for a person: lines of at most the given width, colours only through the {@link Paint} that is handed in.
 */
import { hex } from '../core/units.ts';
import type { Frame } from './backtrace.ts';
import type { BisectReport, Link, VerdictReport, WhyReport } from './report.ts';

/** Turns text into coloured text, or leaves it alone. */
export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly cyan: (text: string) => string;
}

const same = (text: string): string => text;
/** No colours: pipes, files, tests. */
export const PLAIN: Paint = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };

const MAX_FRAMES_SHOWN = 16;

/** A tick with its thousands apart: `1_234_567`, which every verb takes back. */
export const tickText = (tick: number | null): string =>
  tick === null ? '' : String(tick).replace(/\B(?=(\d{3})+$)/g, '_');

/**
 * Rows with columns padded to their widest cell; `right` names the columns that are aligned right, `widths` carries those of rows
 * above to rows below.
 */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  widths: number[] = [],
): string[] {
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, visibleLength(cell));
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat(widths[i]! - visibleLength(cell));
        return right.includes(i) ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd(),
  );
}

const ESCAPE = String.fromCharCode(27);
/** Length without colour sequences. */
const visibleLength = (text: string): number => text.replaceAll(new RegExp(`${ESCAPE}\\[[0-9;]*m`, 'g'), '').length;

/** Words of `text` on lines of `width`, the first one behind `head`, the later ones behind as many blanks. */
function wrap(head: string, text: string, width: number): string[] {
  const indent = ' '.repeat(visibleLength(head));
  const room = width - indent.length;
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line !== '' && visibleLength(line) + 1 + visibleLength(word) > room) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.map((line, i) => (i === 0 ? head : indent) + line);
}

/** A verdict on one line. */
export function renderVerdict({ kind, tick, symbol, rip, message }: VerdictReport, paint: Paint): string {
  const orderly = kind === 'poweroff' || kind === 'reboot';
  const colour = orderly ? paint.green : paint.red;
  const place = symbol ?? (rip === null ? null : hex(rip));
  return `${colour(paint.bold(kind))} at tick ${tickText(tick)}${place === null ? '' : ` in ${place}`}: ${message}`;
}

/** The answer of `why`. */
export function renderWhy(report: WhyReport, paint: Paint, width = 100): string[] {
  const lines = [renderVerdict(report.verdict, paint), ...rootLines(report, paint, width), ''];
  lines.push(paint.bold('What led to it, from the end back'));
  lines.push(...renderChain(report.chain.slice(1), paint, width));
  if (report.instruction !== null) lines.push('', `${paint.bold('Instruction')}  ${report.instruction}`);
  if (report.operand !== null) lines.push(...wrap(`${paint.bold('Operand')}      `, report.operand, width));
  const writer = report.lastWriter;
  if (writer !== null) {
    lines.push('', paint.bold('The store behind it'));
    const rows = [
      ['tick', paint.yellow(tickText(writer.tick))],
      ['in', paint.yellow(writer.symbol ?? hex(writer.rip))],
      ['store', paint.yellow(writer.instruction)],
      ['value', hex(writer.value)],
    ];
    lines.push(...table(rows).map((row) => `  ${row}`));
  }
  if (report.caller !== null) lines.push('', `${paint.bold('Caller')}       ${paint.yellow(report.caller)}`);
  lines.push(...renderBacktrace(report.backtrace, paint));
  return lines;
}

/** The root in one sentence: what decided, who stored it, where that began. */
function rootLines({ decides, root, wait, confirmed, instead }: WhyReport, paint: Paint, width: number): string[] {
  const said: string[] = [];
  if (decides !== null) {
    const place = decides.symbol === null ? '' : ` in ${paint.yellow(decides.symbol)}`;
    said.push(`${decides.text}${place}`);
  }
  if (root !== null) {
    const { store, source } = root;
    if (store !== null) {
      const place = store.caller ?? store.symbol ?? hex(store.rip);
      said.push(`it was stored by ${paint.yellow(`${store.instruction} in ${place}`)} at tick ${tickText(store.tick)}`);
    }
    said.push(source.kind === 'never written' ? `it was ${source.text}` : `it began as ${source.text}`);
  }
  if (wait?.lostWakeup) said.push(`the wake-up was lost: the event came between the look and the block`);
  if (confirmed === true) said.push(`confirmed: without that store ${instead}`);
  if (confirmed === false) said.push(`a suspect only: without that store ${instead}`);
  return said.length === 0 ? [] : ['', ...wrap(`${paint.bold('Root')}  `, `${said.join('; ')}.`, width)];
}

const XEN_LINE = /^\(XEN\) /;

/** Of Xen's lines about one thing the first and the last, which say what was wrong and what became of it. */
function shortened(chain: readonly Link[]): Link[] {
  const out: Link[] = [];
  for (let i = 0; i < chain.length; ) {
    let end = i;
    while (end < chain.length && XEN_LINE.test(chain[end]!.what) && chain[end]!.tick === chain[i]!.tick) end++;
    if (end - i <= 3) {
      out.push(chain[i++]!);
      continue;
    }
    const more = `... ${end - i - 2} more lines of Xen's console (hindsight events, or --json)`;
    out.push(chain[i]!, { what: more, tick: null, rip: null, symbol: null }, chain[end - 1]!);
    i = end;
  }
  return out;
}

function renderChain(all: readonly Link[], paint: Paint, width: number): string[] {
  if (all.length === 0) return ['  (nothing more is known)'];
  const chain = shortened(all);
  const ticks = chain.map((link) => tickText(link.tick));
  const column = Math.max(...ticks.map((t) => t.length));
  return chain.flatMap((link, i) => {
    const place = link.symbol ?? (link.rip === null ? null : hex(link.rip));
    const what = place === null ? link.what : `${link.what} ${paint.cyan(`[${place}]`)}`;
    return wrap(`  ${paint.dim(ticks[i]!.padStart(column))}  `, what, width);
  });
}

/** Frames, innermost first. */
export function renderBacktrace(frames: readonly Frame[], paint: Paint): string[] {
  if (frames.length === 0) return [];
  const rows = frames
    .slice(0, MAX_FRAMES_SHOWN)
    .map((frame, i) => [`#${i}`, paint.dim(hex(frame.rip)), frame.symbol ?? '?']);
  const more = frames.length - MAX_FRAMES_SHOWN;
  return [
    paint.bold('Backtrace'),
    ...table(rows, [0]).map((row) => `  ${row}`),
    ...(more > 0 ? [`  ... ${more} more`] : []),
  ];
}

/** The answer of `bisect`. */
export function renderBisect(report: BisectReport, when: string, paint: Paint): string[] {
  if (report.tick === null) return [`${paint.yellow('never true')}: ${when} (${report.probes} states looked at)`];
  const rows = [
    ['first true at tick', paint.yellow(tickText(report.tick))],
    ['in', paint.yellow(report.symbol ?? hex(report.rip ?? 0n))],
    ['instruction', paint.yellow(report.instruction ?? '?')],
    ['caller', report.caller ?? '?'],
    ['states looked at', String(report.probes)],
  ];
  return [...table(rows), ...renderBacktrace(report.backtrace, paint)];
}
