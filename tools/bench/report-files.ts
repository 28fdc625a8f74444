/** docs/bench: latest.json, a page with the table, a plot. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { barChart } from './bar-chart.ts';
import { megaticks, missingLines, type Result, secondsOf, speed, targets } from './report.ts';
import { ROOT } from './workloads.ts';

const cell = (value: number | null, digits = 2): string => (value === null ? '-' : value.toFixed(digits));
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function page(result: Result): string {
  const { peers, rows, runs, host } = result;
  const same = peers.filter(({ sameGuest }) => sameGuest);
  const header = ['workload', ...same.map(({ name }) => name)];
  const rule = header.map((_, i) => (i === 0 ? '---' : '---:'));
  const bootPeers = rows.find(({ name }) => name === 'boot')?.peers ?? [];
  const rates = bootPeers.flatMap((peer) => {
    const rate = megaticks(peer);
    return rate === null ? [] : [row([peer.name, cell(rate, 0)])];
  });
  const missing = missingLines(result);
  return `# Benchmarks

Written by \`npm run bench\`; figures in [latest.json](latest.json). Host: ${host}. Median of ${runs} interleaved runs.

CPU seconds are user and system time of the whole process tree. For the kernels of our own
([tools/guest-kernels/bench](../../tools/guest-kernels/bench)) the peer's start-up, measured with a run of no round, is
taken off; a slow peer does fewer rounds and its figure is scaled. All peers have to print the same result. Hindsight
runs the image as a Xen PV domain and records it with everything stored; the others enter it by PVH. The boot counts
from process start to poweroff. Handlers of Hindsight's cold tier are compiled when it is installed, as the peers are
([0028](../decisions/0028-prepared-handlers.md)). Hindsight keeps what it translated of a kernel from one run to the next, as it does for its users
([0026](../decisions/0026-kept-machine-code.md), [0027](../decisions/0027-translations-come-back.md)), so that all runs but the first find some; \`hindsight-first\` starts without each time.

![Speed relative to QEMU TCG](speed.svg)

## CPU seconds

${[header, rule, ...rows.map(({ name }) => [name, ...same.map((peer) => cell(secondsOf(result, name, peer.name)))])].map(row).join('\n')}

## Speed, QEMU TCG being 1

${[header, rule, ...rows.map(({ name }) => [name, ...same.map((peer) => cell(speed(result, name, peer.name, 'qemu')))])].map(row).join('\n')}

## The boot in million ticks per CPU second

${[row(['peer', 'million ticks / CPU s']), row(['---', '---:']), ...rates].join('\n')}

## What was asked for

${[row(['ratio', 'measured', 'asked for', '']), row(['---', '---:', '---', '---']), ...targets(result).map(({ text, value, limit, reached }) => row([text, cell(value), limit, reached ? 'reached' : '**missed**']))].join('\n')}

## Peers

${[row(['name', 'what it is']), row(['---', '---']), ...peers.map(({ name, note }) => row([name, note]))].join('\n')}

${rows.map(({ name, title }) => `* \`${name}\`: ${title}`).join('\n')}
${missing.length === 0 ? '' : `\nMissing:\n\n${missing.map((line) => `* ${line}`).join('\n')}\n`}`;
}

/** Writes docs/bench anew. */
export function writeReport(result: Result): void {
  const folder = join(ROOT, 'docs/bench');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'latest.json'), `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(join(folder, 'README.md'), page(result));
  const names = result.peers.filter(({ name, sameGuest }) => sameGuest && name !== 'qemu').map(({ name }) => name);
  const groups = result.rows.map(({ name }) => ({
    name,
    values: names.map((peer) => speed(result, name, peer, 'qemu')),
  }));
  const title = 'Speed relative to QEMU TCG (logarithmic; to the right is faster)';
  writeFileSync(join(folder, 'speed.svg'), barChart({ title, series: names, groups, base: 1 }));
}
