/**
 * Compares a hypercall log of ours with what real Xen saw: `node tools/run.mjs xen-trace TRACE[.gz] LOG.jsonl`. Prints the
 * differences and a table of counts. Exit status: 0 equal, 6 different, 2 bad usage or input.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { commandLine, countOf } from './command-line.ts';
import { type Comparison, compareCalls, untilFirstTimer } from './xen-trace/compare.ts';
import { nameOf } from './xen-trace/names.ts';
import { type Call, parseLog, parseTrace } from './xen-trace/trace.ts';

const USAGE = `usage: node tools/run.mjs xen-trace TRACE[.gz] LOG.jsonl [--until-timer] [--show N] [--json]
  --until-timer  compare up to the first call that arms a timer
  --show N       print the first N differences (10)
  --json         print one JSON value instead of the report`;
/** Calls shown of each side of a difference. */
const SHOWN_CALLS = 6;

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const resultOf = (call: Call): string => (call.ret < 0n ? String(call.ret) : hex(call.ret));
const lineOf = (call: Call): string =>
  `line ${call.line}: ${nameOf(call.kind, call.op, call.args)}(${call.args.map(hex).join(', ')}) = ${resultOf(call)} at rip ${hex(call.rip)}`;

function stretch(title: string, calls: readonly Call[]): string[] {
  if (calls.length === 0) return [`  ${title}: nothing`];
  const lines = calls.slice(0, SHOWN_CALLS).map((call) => `    ${lineOf(call)}`);
  if (calls.length > SHOWN_CALLS) lines.push(`    and ${calls.length - SHOWN_CALLS} more`);
  return [`  ${title}:`, ...lines];
}

function report(result: Comparison, shown: number): string {
  const lines: string[] = [];
  result.differences.slice(0, shown).forEach(({ expected, ours }, index) => {
    lines.push(`${index === 0 ? 'first difference' : `difference ${index + 1}`}:`);
    lines.push(...stretch('Xen', expected), ...stretch('ours', ours));
  });
  if (result.differences.length > shown) lines.push(`${result.differences.length - shown} more differences`);
  if (result.lost) lines.push('the logs do not come together again after the last difference');
  const width = Math.max(4, ...result.counts.map((row) => row.name.length));
  lines.push('', `  ${'call'.padEnd(width)}  ${'Xen'.padStart(8)}  ${'ours'.padStart(8)}`);
  for (const { name, expected, ours } of result.counts)
    lines.push(
      `${expected === ours ? ' ' : '*'} ${name.padEnd(width)}  ${String(expected).padStart(8)}  ${String(ours).padStart(8)}`,
    );
  lines.push(`  (yields, not compared: Xen ${result.yields.expected}, ours ${result.yields.ours})`, '');
  lines.push(`${result.equalCalls} calls equal, ${result.differences.length} differences`);
  return lines.join('\n');
}

function readText(path: string): string {
  const content = readFileSync(path);
  return (content[0] === 0x1f && content[1] === 0x8b ? gunzipSync(content) : content).toString('latin1');
}

function main(): number {
  try {
    const { values, positionals } = commandLine({
      allowPositionals: true,
      options: {
        'until-timer': { type: 'boolean' },
        show: { type: 'string', default: '10' },
        json: { type: 'boolean' },
      },
    });
    if (positionals.length !== 2) throw new Error(USAGE);
    const shown = countOf(values.show, '--show');
    const cut = values['until-timer'] ? untilFirstTimer : (calls: Call[]): Call[] => calls;
    const result = compareCalls(cut(parseTrace(readText(positionals[0]!))), cut(parseLog(readText(positionals[1]!))));
    const toJson = (_: string, value: unknown): unknown =>
      typeof value === 'bigint' ? hex(BigInt.asUintN(64, value)) : value;
    console.log(values.json ? JSON.stringify(result, toJson, 2) : report(result, shown));
    return result.differences.length === 0 ? 0 : 6;
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
}

process.exitCode = main();
