/**
 * `npm run bench [-- --runs N] [--peers NAME,...] [--fetch] [--write] [WORKLOAD ...]`: Hindsight beside its peers, all in one run.
 *
 * What counts is CPU time, user and system, of the whole process tree. Runs are interleaved, a figure is the median. From a kernel with
 * rounds the peer's own start-up is taken off: the median of runs with no round. A peer that would take longer than LIMIT_SECONDS does
 * fewer rounds and its figure is scaled up, less what happens once: two short trials tell both parts. In the first trial all peers must
 * come to the same result. The full set of workloads, or --write, writes docs/bench. --fetch gets Bochs and v86 into .cache/peers,
 * without root, nothing installed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import '../prepare-handlers.ts'; // as an installation does
import { fetchBochs, PEER_FOLDER } from '../bochs.ts';
import { commandLine, countOf } from '../command-line.ts';
import { measure, median } from './measure.ts';
import { allPeers, type Peer } from './peers.ts';
import { printTable, type Result, type Row } from './report.ts';
import { writeReport } from './report-files.ts';
import { fetchV86 } from './v86.ts';
import { WORKLOADS, type Workload } from './workloads.ts';

/** CPU seconds that one run of a peer should take at most. */
const LIMIT_SECONDS = 3;
/** Part of the rounds that the first trial before the measurement does; the second does four times as many. */
const TRIAL = 1 / 40;

/** How Hindsight and the runner of v86 tell the steps that were done. */
const TICKS = /"ticks":(\d+)/;

const log = (line: string): void => console.error(`bench: ${line}`);

async function runOnce(
  peer: Peer,
  workload: Workload,
  rounds: number,
  folder: string,
  recorder?: Peer,
): Promise<{ cpuSeconds: number; result: string | null; ticks: number | null }> {
  if (recorder !== undefined) await runOnce(recorder, workload, rounds, folder);
  const { cpuSeconds, output } = await measure(peer.start(workload, rounds, folder));
  const match = workload.done.exec(output);
  if (match === null) throw new Error(`the guest did not come to its end: ${output.trim().slice(-400)}`);
  const ticks = TICKS.exec(output)?.[1];
  return { cpuSeconds, result: match[1] ?? null, ticks: ticks === undefined ? null : Number(ticks) };
}

/** Start-up seconds by peer, measured with a kernel that does no round. */
class StartUps {
  readonly #seconds = new Map<string, number>();
  readonly #runs: number;
  constructor(runs: number) {
    this.#runs = runs;
  }
  async of(peer: Peer, workload: Workload, folder: string, before: Peer | null): Promise<number> {
    const known = this.#seconds.get(peer.name);
    if (known !== undefined) return known;
    if (before !== null) await runOnce(before, workload, 0, folder);
    const taken: number[] = [];
    for (let run = 0; run < this.#runs; run++) taken.push((await runOnce(peer, workload, 0, folder)).cpuSeconds);
    this.#seconds.set(peer.name, median(taken));
    log(`start-up of ${peer.name}: ${median(taken).toFixed(2)} CPU s`);
    return median(taken);
  }
}

/** A peer's part in one workload. */
interface Part {
  readonly peer: Peer;
  rounds: number;
  startUp: number;
  /** CPU seconds that a kernel takes once, however many rounds it does. */
  once: number;
  missing: string | null;
  ticks: number | null;
  readonly samples: number[];
}

/** Who takes part in a workload. */
const partsOf = (workload: Workload, peers: readonly Peer[]): Part[] =>
  peers
    .filter(({ workloads }) => workloads === null || workloads.includes(workload.name))
    .map((peer) => ({
      peer,
      rounds: 0,
      startUp: 0,
      once: 0,
      missing: workload.missing ?? peer.missing,
      ticks: null,
      samples: [],
    }));

async function measureWorkload(
  workload: Workload,
  peers: readonly Peer[],
  runs: number,
  startUps: StartUps,
  folder: string,
): Promise<Row> {
  const parts = partsOf(workload, peers);
  const partOf = (name: string | null): Part | null => parts.find(({ peer }) => peer.name === name) ?? null;
  const attempt = async (part: Part, work: () => Promise<void>): Promise<void> => {
    if (part.missing !== null) return;
    const source = partOf(part.peer.replays);
    if (part.peer.replays !== null && (source === null || source.missing !== null)) {
      part.missing = `${part.peer.replays} did not run`;
      return;
    }
    try {
      await work();
    } catch (error) {
      part.missing = (error as Error).message;
      log(`${part.peer.name} ${workload.name}: ${part.missing}`);
    }
  };
  const { rounds } = workload;
  let agreed: string | null = null;
  if (rounds !== null)
    for (const part of parts)
      await attempt(part, async () => {
        const source = partOf(part.peer.replays);
        part.startUp = await startUps.of(part.peer, workload, folder, source?.peer ?? null);
        const few = Math.max(1, Math.round(rounds * TRIAL));
        const trial = await runOnce(part.peer, workload, few, folder, source?.peer);
        agreed ??= trial.result;
        if (trial.result !== agreed) throw new Error(`came to ${trial.result}, ${parts[0]!.peer.name} to ${agreed}`);
        // what a round costs, apart from what happens once (tables, translation): the line through two trials
        const more = await runOnce(part.peer, workload, few * 4, folder, source?.peer);
        const round = Math.max(0, more.cpuSeconds - trial.cpuSeconds) / (few * 3);
        part.once = Math.max(0, trial.cpuSeconds - part.startUp - round * few);
        part.rounds = Math.max(few * 4, Math.round(rounds * Math.min(1, LIMIT_SECONDS / (round * rounds))));
        if (source !== null) part.rounds = source.rounds;
      });
  for (let run = 0; run < runs; run++)
    for (const part of parts)
      await attempt(part, async () => {
        const { cpuSeconds, ticks } = await runOnce(part.peer, workload, part.rounds, folder);
        part.ticks = ticks;
        const scale = rounds === null ? 1 : rounds / part.rounds;
        part.samples.push((cpuSeconds - part.startUp - part.once) * scale + part.once);
        log(`${workload.name} ${run + 1}/${runs} ${part.peer.name}: ${part.samples.at(-1)!.toFixed(2)} CPU s`);
      });
  return {
    name: workload.name,
    title: workload.title,
    rounds,
    peers: parts.map(({ peer, rounds, startUp, missing, samples, ticks }) => ({
      name: peer.name,
      missing,
      cpuSeconds: missing === null ? median(samples) : null,
      samples,
      rounds: workload.rounds === null ? null : rounds,
      startUpSeconds: startUp,
      ticks,
    })),
  };
}

const USAGE = `usage: npm run bench -- [--runs N] [--peers NAME,...] [--fetch] [--write] [${WORKLOADS.map((w) => w.name).join('|')} ...]`;

function chosen<T extends { readonly name: string }>(all: readonly T[], names: readonly string[], what: string): T[] {
  for (const name of names)
    if (!all.some((x) => x.name === name))
      throw new Error(`no ${what} ${name}; there are ${all.map((x) => x.name).join(', ')}`);
  return all.filter(({ name }) => names.length === 0 || names.includes(name));
}

const hostText = (): string =>
  `${availableParallelism()} cores of ${cpus()[0]?.model ?? 'an unknown CPU'}, Node ${process.versions.node}`;

async function main(): Promise<number> {
  const { values, positionals } = commandLine({
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '5' },
      peers: { type: 'string' },
      fetch: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    },
  });
  const runs = countOf(values.runs, '--runs', 1);
  if (values.fetch) {
    fetchBochs(log);
    fetchV86(PEER_FOLDER, log);
  }
  const workloads = chosen(WORKLOADS, positionals, 'workload');
  const peers = chosen(allPeers(), values.peers?.split(',') ?? [], 'peer');
  for (const { name, missing } of peers) if (missing !== null) log(`${name} is missing: ${missing}`);
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const startUps = new StartUps(runs);
  const rows: Row[] = [];
  try {
    for (const workload of workloads) {
      mkdirSync(folder, { recursive: true });
      rows.push(await measureWorkload(workload, peers, runs, startUps, folder));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const result: Result = {
    host: hostText(),
    runs,
    peers: peers.map(({ name, note, missing, sameGuest }) => ({ name, note, missing, sameGuest })),
    rows,
  };
  printTable(result);
  if (values.write || (positionals.length === 0 && values.peers === undefined)) writeReport(result);
  return rows.some((row) => row.peers.some((p) => p.missing !== null && p.samples.length > 0)) ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`bench: ${(error as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
