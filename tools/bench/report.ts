/** What the benchmarks found, as text. */
import { geometricMean } from './measure.ts';
import { FIVE } from './workloads.ts';

export interface PeerResult {
  readonly name: string;
  /** Why there is no figure, or null. */
  readonly missing: string | null;
  /** Median for the whole number of rounds, start-up taken off. */
  readonly cpuSeconds: number | null;
  readonly samples: readonly number[];
  /** Rounds that were really done; null for work without rounds. */
  readonly rounds: number | null;
  readonly startUpSeconds: number;
}
export interface Row {
  readonly name: string;
  readonly title: string;
  readonly rounds: number | null;
  readonly peers: readonly PeerResult[];
}
export interface Result {
  readonly runs: number;
  readonly peers: ReadonlyArray<{ readonly name: string; readonly note: string; readonly missing: string | null }>;
  readonly rows: readonly Row[];
}

/** CPU seconds of a peer in a workload; null when it has none. */
export const secondsOf = ({ rows }: Result, workload: string, peer: string): number | null =>
  rows.find(({ name }) => name === workload)?.peers.find(({ name }) => name === peer)?.cpuSeconds ?? null;
/** How many times as fast as `base` a peer is; null without both. */
export function speed(result: Result, workload: string, peer: string, base: string): number | null {
  const [own, other] = [secondsOf(result, workload, peer), secondsOf(result, workload, base)];
  return own === null || other === null ? null : other / own;
}
/** The geometric mean of {@link speed} over the prototype's five; null unless all are there. */
export function speedOfFive(result: Result, peer: string, base: string): number | null {
  const all = FIVE.map((name) => speed(result, name, peer, base)).filter((x) => x !== null);
  return all.length === FIVE.length ? geometricMean(all) : null;
}

/** CPU seconds and, in brackets, the speed relative to QEMU's TCG. */
export function printTable(result: Result): void {
  const width = 17;
  console.log(`CPU seconds, median of ${result.runs}; in brackets the speed, QEMU TCG being 1`);
  console.log(['workload'.padEnd(15), ...result.peers.map(({ name }) => name.padStart(width))].join(''));
  for (const { name, peers } of result.rows) {
    const cells = peers.map((peer) => {
      const ratio = speed(result, name, peer.name, 'qemu');
      if (peer.cpuSeconds === null) return '-'.padStart(width);
      return `${peer.cpuSeconds.toFixed(2)}${ratio === null ? '' : ` (${ratio.toFixed(2)})`}`.padStart(width);
    });
    console.log([name.padEnd(15), ...cells].join(''));
  }
  const mean = speedOfFive(result, 'hindsight', 'qemu');
  if (mean !== null) console.log(`geometric mean of the five kernels, hindsight to qemu: ${mean.toFixed(2)}`);
  for (const { name, missing } of result.peers) if (missing !== null) console.log(`missing: ${name}: ${missing}`);
  for (const row of result.rows)
    for (const peer of row.peers)
      if (peer.missing !== null && !result.peers.some((p) => p.name === peer.name && p.missing !== null))
        console.log(`missing: ${peer.name} in ${row.name}: ${peer.missing}`);
}

export function writeReport(_result: Result): void {}
