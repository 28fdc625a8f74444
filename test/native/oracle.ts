/**
 * Builds and drives the native oracle (oracle.c): batches of cases in, outcomes of the host's own CPU out.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CASE_OFFSETS, CASE_SIZE, isSegmented, OUTCOME_SIZE, OutcomeRecord } from './records.ts';
import { segmentFile } from './segments.ts';

const CACHE = resolve(import.meta.dirname, '../../.cache/native');
const SOURCES = ['oracle.c', 'oracle.h'].map((name) => join(import.meta.dirname, name));

/** The oracle cannot run here; the message says why, so that tests can skip by name. */
class OracleUnavailable extends Error {
  override name = 'OracleUnavailable';
}

/** Path of the compiled oracle, built when older than its source; throws {@link OracleUnavailable}. */
function buildOracle(): string {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new OracleUnavailable('not Linux on x86-64');
  const binary = join(CACHE, 'oracle');
  const newest = Math.max(...SOURCES.map((path) => statSync(path).mtimeMs));
  if (existsSync(binary) && statSync(binary).mtimeMs > newest) return binary;
  mkdirSync(CACHE, { recursive: true });
  const fresh = `${binary}.${process.pid}`;
  const compiler = process.env.CC ?? 'gcc';
  const build = spawnSync(compiler, ['-O2', '-o', fresh, SOURCES[0]!], { encoding: 'utf8' });
  if (build.error !== undefined) throw new OracleUnavailable(`no C compiler: ${compiler}`);
  if (build.status !== 0) throw new OracleUnavailable(`${compiler} failed: ${build.stderr}`);
  renameSync(fresh, binary);
  return binary;
}

/** The reason why the oracle cannot run cases of a mode here, or null: no compiler, or a kernel that does not let it. */
export function oracleMissing(mode: number): string | null {
  try {
    const oracle = new NativeOracle();
    const missing = oracle.missing(mode);
    oracle.close();
    return missing;
  } catch (error) {
    if (error instanceof OracleUnavailable) return error.message;
    throw error;
  }
}

/** Runs batches; owns a temporary directory until {@link close}. */
export class NativeOracle {
  readonly #binary: string;
  readonly #directory: string;
  readonly #segments: string;
  /** Seconds that the oracle itself spent on all batches so far. */
  seconds = 0;

  constructor() {
    this.#binary = buildOracle();
    const shared = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    this.#directory = mkdtempSync(join(shared, 'silicon-'));
    this.#segments = join(this.#directory, 'segments');
    writeFileSync(this.#segments, segmentFile());
  }

  /** What the host lacks for cases of a mode, or null. */
  missing(mode: number): string | null {
    const run = spawnSync(this.#binary, ['--missing', ...this.#segmentsOf(mode)], { encoding: 'utf8' });
    if (run.status === 0) return null;
    return run.status === 77
      ? run.stderr.trim()
      : `the oracle died (${run.signal ?? run.status}): ${run.stderr.trim()}`;
  }
  /** A host may have no LDT: only cases of segmented modes need one. */
  #segmentsOf(mode: number): readonly string[] {
    return isSegmented(mode) ? [this.#segments] : [];
  }

  /** Outcomes of the cases in `cases` (a whole number of case records), in order. */
  run(cases: Uint8Array): OutcomeRecord {
    const input = join(this.#directory, 'cases');
    const output = join(this.#directory, 'outcomes');
    writeFileSync(input, cases);
    const run = spawnSync(this.#binary, [input, output, ...this.#segmentsOf(cases[CASE_OFFSETS.mode]!)], {
      encoding: 'utf8',
    });
    if (run.status === 77) throw new OracleUnavailable(run.stderr.trim());
    const outcomes = new OutcomeRecord(readFileSync(output));
    const count = cases.length / CASE_SIZE;
    if (run.status !== 0 || outcomes.bytes.length !== count * OUTCOME_SIZE || !outcomes.at(count - 1).done) {
      let index = 0;
      while (index < count && outcomes.at(index).done) index++;
      throw new Error(`oracle died (${run.signal ?? run.status}) at case ${index}: ${run.stderr}`);
    }
    this.seconds += Number(run.stdout.split(' ')[1]);
    return outcomes.at(0);
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
