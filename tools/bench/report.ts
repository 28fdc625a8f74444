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
  /** Steps of the last run, where the peer tells them. */
  readonly ticks: number | null;
}
export interface Row {
  readonly name: string;
  readonly title: string;
  readonly rounds: number | null;
  readonly peers: readonly PeerResult[];
}
export interface PeerInfo {
  readonly name: string;
  readonly note: string;
  readonly missing: string | null;
  /** False for a peer with a guest of its own. */
  readonly sameGuest: boolean;
}
export interface Result {
  /** The CPU and the Node that measured. */
  readonly host: string;
  readonly runs: number;
  readonly peers: readonly PeerInfo[];
  readonly rows: readonly Row[];
}

/** CPU seconds of a peer in a workload; null when it has none. */
export const secondsOf = ({ rows }: Result, workload: string, peer: string): number | null =>
  rows.find(({ name }) => name === workload)?.peers.find(({ name }) => name === peer)?.cpuSeconds ?? null;
/** Million ticks per CPU second, start-up included; null when the peer tells no ticks. */
export const megaticks = ({ ticks, cpuSeconds }: PeerResult): number | null =>
  ticks === null || cpuSeconds === null ? null : ticks / cpuSeconds / 1e6;
/** How many times as fast as `base` a peer is; null without both. */
export function speed(result: Result, workload: string, peer: string, base: string): number | null {
  const [own, other] = [secondsOf(result, workload, peer), secondsOf(result, workload, base)];
  return own === null || other === null ? null : other / own;
}
/** The geometric mean of {@link speed} over the prototype's five; null unless all are there. */
function speedOfFive(result: Result, peer: string, base: string): number | null {
  const all = FIVE.map((name) => speed(result, name, peer, base)).filter((x) => x !== null);
  return all.length === FIVE.length ? geometricMean(all) : null;
}

/** What is missing, with reasons. */
export function missingLines({ peers, rows }: Result): string[] {
  const absent = peers.filter(({ missing }) => missing !== null);
  const lines = absent.map(({ name, missing }) => `${name}: ${missing}`);
  for (const row of rows)
    for (const peer of row.peers)
      if (peer.missing !== null && !absent.some(({ name }) => name === peer.name))
        lines.push(`${peer.name} in ${row.name}: ${peer.missing}`);
  return lines;
}

/** The table on the terminal. */
export function printTable(result: Result): void {
  const width = 18;
  const shown = result.peers.filter(({ sameGuest }) => sameGuest);
  console.log(`CPU seconds, median of ${result.runs}; in brackets the speed, QEMU's TCG being 1`);
  console.log(['workload'.padEnd(14), ...shown.map(({ name }) => name.padStart(width))].join(''));
  for (const { name, peers } of result.rows) {
    const cells = shown.map((info) => {
      const seconds = peers.find((peer) => peer.name === info.name)?.cpuSeconds ?? null;
      const ratio = speed(result, name, info.name, 'qemu');
      const text = seconds === null ? '-' : `${seconds.toFixed(2)}${ratio === null ? '' : ` (${ratio.toFixed(2)})`}`;
      return text.padStart(width);
    });
    console.log([name.padEnd(14), ...cells].join(''));
  }
  for (const { text, value, limit, reached } of targets(result))
    console.log(`${reached ? 'reached' : 'missed '}  ${text}: ${value.toFixed(2)} (${limit})`);
  for (const { name, peers } of result.rows)
    for (const peer of peers)
      if (name === 'boot' && megaticks(peer) !== null)
        console.log(`boot on ${peer.name}: ${megaticks(peer)!.toFixed(0)} million ticks per CPU second`);
  for (const line of missingLines(result)) console.log(`missing: ${line}`);
}

export interface Target {
  readonly text: string;
  readonly value: number;
  /** What was asked for, in words. */
  readonly limit: string;
  readonly reached: boolean;
}
/** The speeds that were asked for, as far as they were measured. */
export function targets(result: Result): Target[] {
  const out: Target[] = [];
  const atLeast = (text: string, value: number | null, limit: number): void => {
    if (value !== null) out.push({ text, value, limit: `at least ${limit}`, reached: value >= limit });
  };
  const atMost = (text: string, value: number | null, limit: number): void => {
    if (value !== null) out.push({ text, value, limit: `at most ${limit}`, reached: value <= limit });
  };
  const own = 'hindsight';
  const inverse = (x: number | null): number | null => (x === null ? null : 1 / x);
  atLeast('five kernels, geometric mean of the speed, QEMU TCG being 1', speedOfFive(result, own, 'qemu'), 1);
  for (const name of FIVE) atLeast(`${name}, QEMU TCG being 1`, speed(result, name, own, 'qemu'), 0.75);
  for (const name of FIVE) atLeast(`${name}, rr=record being 1`, speed(result, name, own, 'qemu-record'), 1);
  atLeast('scattered2000, QEMU TCG being 1', speed(result, 'scattered2000', own, 'qemu'), 0.5);
  const record = (peer: string): number | null => inverse(speed(result, 'boot', peer, 'qemu-record'));
  atMost('boot, CPU seconds to those of rr=record', record(own), 2);
  atMost('first boot of a kernel, CPU seconds to those of rr=record', record('hindsight-first'), 2);
  const replay = inverse(speed(result, 'boot', 'hindsight-replay', 'qemu-replay'));
  atMost('boot replayed, CPU seconds to those of rr=replay', replay, 1.2);
  atLeast('boot, Bochs being 1', speed(result, 'boot', own, 'bochs'), 5);
  return out;
}
