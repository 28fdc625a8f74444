/**
 * Random hypercalls of a real PV guest, every frame's type, counts and owner audited after each step:
 * `node tools/run.mjs fuzz-hypercalls [--calls N] [--seed S] [--minutes M] [--table]`.
 *
 * A scenario is a seed; a failure is shrunk and printed with its actions, and ends the run with status 1. `--table` prints how
 * often each operation was reached and succeeded. `--mutate` breaks one rule of reference counts after the other
 * (test/xen/fuzz/mutations.ts) and shows that each is found; `--mutation NAME` breaks one.
 */
import { MUTATIONS } from '../test/xen/fuzz/mutations.ts';
import { amountOf, checked, commandLine, countOf } from './command-line.ts';
import { breakSource, mutate } from './fuzz/mutate.ts';

const { values } = commandLine({
  options: {
    calls: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string' },
    'cpu-seconds': { type: 'string' },
    table: { type: 'boolean', default: false },
    mutate: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    brief: { type: 'boolean', default: false },
  },
});
const calls = countOf(values.calls, '--calls');
const first = countOf(values.seed, '--seed');
const minutes = amountOf(values.minutes, '--minutes');
const cpuLimit = amountOf(values['cpu-seconds'], '--cpu-seconds');
const seconds = (): number => performance.now() / 1000;
const cpuSeconds = (): number => process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6;

/** Fuzzes until so many calls are made or the time is up; returns the exit status. */
async function fuzz(): Promise<number> {
  const { actionText, coverageTable, Fuzzer, replay, shrink } = await import('../test/xen/fuzz/run.ts');
  const { OPERATIONS } = await import('../test/xen/fuzz/operations.ts');
  const fuzzer = new Fuzzer();
  const end = seconds() + minutes * 60;
  const summary = (): string =>
    `${fuzzer.calls} calls in ${fuzzer.scenarios} scenarios (${fuzzer.lost} lost), ${((100 * fuzzer.successes) / Math.max(1, fuzzer.calls)).toFixed(1)} % succeeded; ` +
    `${fuzzer.steps} steps, the largest of ${fuzzer.largestStep} units (bound ${fuzzer.bound}), ${fuzzer.continued} went on; ` +
    `${OPERATIONS.filter((name) => fuzzer.reached.has(name)).length} of ${OPERATIONS.length} operations reached; ${cpuSeconds().toFixed(0)} CPU s`;
  let said = seconds();
  const going = (): boolean => fuzzer.calls < calls && seconds() < end && cpuSeconds() < cpuLimit;
  for (let seed = first; going(); seed++) {
    const failure = fuzzer.run(seed);
    if (failure !== null) {
      console.log(`MISMATCH seed ${seed}, action ${failure.actions.length}: ${failure.message}`);
      if (values.brief) return 1;
      const left = shrink(failure.actions);
      console.log(`${left.length} actions are left: ${replay(left)}\n${left.map(actionText).join('\n')}`);
      console.log(`again: node tools/run.mjs fuzz-hypercalls --seed ${seed} --calls 1`);
      return 1;
    }
    if (seconds() - said > 60) {
      said = seconds();
      console.log(`to seed ${seed}: ${summary()}`);
    }
  }
  console.log(summary());
  if (values.table) console.log(coverageTable(fuzzer.reached, OPERATIONS));
  return 0;
}

if (values.mutate) process.exitCode = await mutate(import.meta.filename, MUTATIONS);
else {
  const { mutation } = values;
  if (mutation !== undefined) checked(() => breakSource(mutation, MUTATIONS));
  process.exitCode = await fuzz();
}
