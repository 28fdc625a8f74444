/**
 * Runs random programs on the hot, cold and oracle tiers and compares all registers and memory at every stop:
 * `node tools/run.mjs fuzz-tiers [--minutes N] [--seed S] [--jobs N] [--oracle N] [--forms]`.
 *
 * Every Nth program runs on the oracle tier too (--oracle, 4). A mismatch is shrunk and printed with the command that shows it
 * again (`--seed S --units ... --happenings ... --stops ...`, with the mutation if there is one), and ends the run with status 1.
 * `--forms` lists the forms that no region was made of. `--mutate` breaks one lowering after the other
 * (test/engine/fuzz/mutations.ts) and shows that each is found; `--mutation NAME` breaks one.
 */
import { spawn } from 'node:child_process';
import type { TierName } from '../test/engine/fuzz/machine.ts';
import { MUTATIONS } from '../test/engine/fuzz/mutations.ts';
import type { Fuzzer } from '../test/engine/fuzz/run.ts';
import type { Kept } from '../test/engine/fuzz/shrink.ts';
import { amountOf, checked, commandLine, countOf, oneOf } from './command-line.ts';
import { breakSource, mutate } from './fuzz/mutate.ts';

const { values } = commandLine({
  options: {
    minutes: { type: 'string', default: '1' },
    'cpu-seconds': { type: 'string' },
    seed: { type: 'string', default: '1' },
    programs: { type: 'string' },
    stride: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    oracle: { type: 'string', default: '4' },
    tiers: { type: 'string' },
    units: { type: 'string' },
    happenings: { type: 'string' },
    stops: { type: 'string' },
    forms: { type: 'boolean', default: false },
    mutate: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    brief: { type: 'boolean', default: false },
  },
});
const TIERS: readonly TierName[] = ['hot', 'cold', 'oracle'];
const chosen = values.tiers?.split(',').map((name) => oneOf(name, '--tiers', TIERS));
const first = countOf(values.seed, '--seed');
const stride = countOf(values.stride, '--stride', 1);
const jobs = countOf(values.jobs, '--jobs', 1);
const oracleEvery = countOf(values.oracle, '--oracle', 1);
const programs = countOf(values.programs, '--programs');
const minutes = amountOf(values.minutes, '--minutes');
const cpuLimit = amountOf(values['cpu-seconds'], '--cpu-seconds');
const seconds = (): number => performance.now() / 1000;
const cpuSeconds = (): number => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;
const numbers = (text: string | undefined, what: string): number[] =>
  text ? text.split(',').map((x) => countOf(x, what)) : [];

/** Shrinks the mismatch of a seed and tells what is left of it, with the command that shows it again. */
async function report(seed: number, tiers: readonly TierName[]): Promise<void> {
  const { Fuzzer } = await import('../test/engine/fuzz/run.ts');
  const { policyOf, scenarioOf } = await import('../test/engine/fuzz/scenario.ts');
  const { listing, shrink, trail } = await import('../test/engine/fuzz/shrink.ts');
  const shrunk = shrink(scenarioOf(seed), tiers, 60, seconds);
  if (shrunk === null) {
    console.log(`seed ${seed}: the mismatch does not come again on fresh machines`);
    return;
  }
  const { kept, mismatch } = shrunk;
  const list = (name: keyof Kept): string => `--${name} ${kept[name].join(',') || "''"}`;
  const broken = values.mutation === undefined ? '' : ` --mutation '${values.mutation}'`;
  console.log(`seed ${seed} (${policyOf(seed)}): first wrong step ${mismatch.tick - 1}\n  ${mismatch.what}`);
  console.log(`program left (${kept.units.length} units; the rest are NOPs):\n${listing(shrunk)}`);
  console.log(`before it, as the ${tiers[1]} tier executes it:\n${trail(new Fuzzer(), shrunk, tiers[1]!, 12)}`);
  console.log(
    `again: node tools/run.mjs fuzz-tiers --seed ${seed} --tiers ${tiers.join(',')} ${list('units')} ${list('happenings')} ${list('stops')}${broken}`,
  );
}

/** Runs what --units, --happenings and --stops left of a seed; returns the exit status. */
async function again(): Promise<number> {
  const { Fuzzer } = await import('../test/engine/fuzz/run.ts');
  const { scenarioOf } = await import('../test/engine/fuzz/scenario.ts');
  const { listing, reduced, trail } = await import('../test/engine/fuzz/shrink.ts');
  const fuzzer = new Fuzzer();
  const kept: Kept = {
    units: numbers(values.units, '--units'),
    happenings: numbers(values.happenings, '--happenings'),
    stops: numbers(values.stops, '--stops'),
  };
  const tiers = chosen ?? ['hot', 'cold'];
  const scenario = reduced(scenarioOf(first), kept);
  const mismatch = fuzzer.run(scenario, tiers);
  if (mismatch === null) {
    console.log('the tiers agree');
    return 0;
  }
  const shrunk = { kept, scenario, mismatch };
  console.log(`wrong step ${mismatch.tick - 1}\n  ${mismatch.what}`);
  console.log(`${listing(shrunk)}\n${trail(fuzzer, shrunk, tiers[1]!, 12)}`);
  return 1;
}

function summary({ coverage }: Fuzzer): string {
  const share = ((100 * coverage.regionSteps) / Math.max(1, coverage.steps)).toFixed(1);
  return (
    `${coverage.scenarios} programs, ${(coverage.steps / 1e6).toFixed(1)} M steps, ${share} % of them in regions, ` +
    `${(coverage.oracleSteps / 1e6).toFixed(1)} M on the oracle; ${coverage.stops} stops, ${coverage.events} events, ` +
    `${coverage.regions} regions (${coverage.evictions} dropped)`
  );
}

/** Tells how many forms regions were made of, and with --forms which not. */
async function tellForms(fuzzer: Fuzzer): Promise<void> {
  const { poolOf } = await import('../test/engine/fuzz/pool.ts');
  const known = new Set(
    ([1, 2] as const).flatMap((mode) => poolOf(mode, 'x86-64-v2').plain.map(({ form }) => form.key)),
  );
  const never = [...known].filter((key) => !fuzzer.translated.has(key)).sort();
  console.log(
    `${known.size - never.length} of ${known.size} forms in regions; ` +
      `${(fuzzer.coverage.scenarios / cpuSeconds()).toFixed(1)} programs a CPU second, ${cpuSeconds().toFixed(0)} CPU s`,
  );
  if (values.forms) console.log(`never in a region: ${never.join(' ')}`);
}

/** Fuzzes until the time is up; returns the exit status. */
async function fuzz(): Promise<number> {
  const { Fuzzer } = await import('../test/engine/fuzz/run.ts');
  const { scenarioOf } = await import('../test/engine/fuzz/scenario.ts');
  const fuzzer = new Fuzzer();
  const end = seconds() + minutes * 60;
  let seed = first;
  let failed = false;
  let said = seconds();
  for (let done = 0; seconds() < end && cpuSeconds() < cpuLimit && done < programs; done++, seed += stride) {
    const tiers: readonly TierName[] = chosen ?? (seed % oracleEvery === 0 ? TIERS : ['hot', 'cold']);
    const mismatch = fuzzer.run(scenarioOf(seed), tiers);
    if (mismatch !== null) {
      failed = true;
      console.log(`MISMATCH seed ${seed}, tick ${mismatch.tick}: ${mismatch.what.split('\n')[0]}`);
      const two = tiers.length === 2 ? tiers : (['hot', mismatch.what.includes('oracle') ? 'oracle' : 'cold'] as const);
      if (!values.brief) await report(seed, two);
      break;
    }
    if (seconds() - said > 60) {
      said = seconds();
      console.log(`seeds to ${seed}: ${summary(fuzzer)}`);
    }
  }
  console.log(`seeds ${first} to ${seed - stride}${stride > 1 ? ` by ${stride}` : ''}: ${summary(fuzzer)}`);
  await tellForms(fuzzer);
  return failed ? 1 : 0;
}

if (values.mutate) process.exitCode = await mutate(import.meta.filename, MUTATIONS);
else if (jobs > 1) {
  const run = (job: number): Promise<number> =>
    new Promise((done) => {
      const own = ['--jobs', '1', '--seed', String(first + job), '--stride', String(jobs)];
      const args = [import.meta.filename, ...process.argv.slice(2), ...own];
      spawn(process.execPath, args, { stdio: 'inherit' }).on('exit', (code) => done(code ?? 1));
    });
  process.exitCode = Math.max(...(await Promise.all(Array.from({ length: jobs }, (_, job) => run(job)))));
} else {
  const { mutation } = values;
  if (mutation !== undefined) checked(() => breakSource(mutation, MUTATIONS));
  process.exitCode = await (values.stops === undefined ? fuzz() : again());
}
