/**
 * Compares our CPU with the host's silicon on random cases and prints a table of forms:
 * `node tools/run.mjs silicon [--cases N] [--mode 64|compat|prot32|prot16|all] [--seed S] [--form REGEX] [--cpu NAME] [--seconds T] [--group N] [--list] [--all]`.
 * `--group`: so many cases in a row have the same code. `--report FILE` (docs/silicon.json) notes the cases of each form in the
 * modes that ran, for tools/instructions.ts; modes that did not run stay as they are in the file, and with `--form` all other forms.
 * Exit status 1 when something differed or is unimplemented, 77 when the host cannot run the oracle. `--list` prints the forms
 * in scope and the excluded ones with their reasons and runs nothing.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { CaseStream, compareBatch } from '../test/native/campaign.ts';
import { Comparison } from '../test/native/compare.ts';
import { openCpus } from '../test/native/cpus.ts';
import { enumerateForms, PASSED_OVER } from '../test/native/enumerate.ts';
import { choicesOf, hostSignature, signatureText } from '../test/native/hosts.ts';
import { NativeOracle, oracleMissing } from '../test/native/oracle.ts';
import { isSegmented, MODE_64, MODE_COMPAT, MODE_PROT16, MODE_PROT32 } from '../test/native/records.ts';
import { amountOf, commandLine, countOf, oneOf, patternOf } from './command-line.ts';
import type { Campaign, CampaignMode } from './instructions.ts';

const { values } = commandLine({
  options: {
    cases: { type: 'string', default: '100000' },
    mode: { type: 'string', default: 'all' },
    seed: { type: 'string', default: '1' },
    form: { type: 'string', default: '.' },
    cpu: { type: 'string', default: '.' },
    seconds: { type: 'string', default: '600' },
    encodings: { type: 'string', default: '32' },
    group: { type: 'string', default: '16' },
    report: { type: 'string' },
    examples: { type: 'string', default: '1' },
    list: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
  },
});

/** Notes modes in the report, a line a mode; what it has of other modes stays. Of some forms alone it is a later campaign of its mode. */
function writeReport(file: string, ran: Campaign, some: boolean): void {
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Campaign) : {};
  const added = Object.entries(ran).flatMap(([mode, x]): Array<[string, CampaignMode]> => {
    const whole = before[mode];
    if (!some) return [[mode, x]];
    return whole === undefined ? [] : [[mode, { ...whole, later: [...(whole.later ?? []), x] }]];
  });
  const lines = Object.entries({ ...before, ...Object.fromEntries(added) }).map(
    ([mode, x]) => `${JSON.stringify(mode)}: ${JSON.stringify(x)}`,
  );
  writeFileSync(file, `{\n${lines.join(',\n')}\n}\n`);
}

const BATCH = 8192;
const MODES = [
  { name: '64', mode: MODE_64 },
  { name: 'compat', mode: MODE_COMPAT },
  { name: 'prot32', mode: MODE_PROT32 },
  { name: 'prot16', mode: MODE_PROT16 },
] as const;
const wanted = oneOf(values.mode, '--mode', [...MODES.map(({ name }) => name), 'all']);
const modes = MODES.filter(({ name }) => wanted === 'all' || wanted === name);
const filter = patternOf(values.form, '--form');
const cpuNames = patternOf(values.cpu, '--cpu');
const limits = { cases: countOf(values.cases, '--cases', 1), seconds: amountOf(values.seconds, '--seconds') };
const sizes = {
  seed: BigInt(countOf(values.seed, '--seed')),
  encodings: countOf(values.encodings, '--encodings', 1),
  group: countOf(values.group, '--group', 1),
};
const examples = countOf(values.examples, '--examples');

if (values.list) {
  for (const { name, mode } of modes) {
    const { forms, excluded } = enumerateForms(mode);
    const chosen = forms.filter((form) => filter.test(form.name));
    console.log(`mode ${name}: ${chosen.length} forms\n${chosen.map((form) => `  ${form.name}`).join('\n')}`);
    const reasons = Map.groupBy(excluded, (form) => form.reason);
    for (const [reason, list] of reasons)
      console.log(`excluded, ${reason}: ${list.map((form) => form.name).join(' ')}`);
  }
  for (const what of PASSED_OVER) console.log(`passed over: ${what}`);
  process.exit(0);
}
const missing = oracleMissing(modes[0]!.mode);
if (missing !== null) {
  console.error(`silicon: ${missing}`);
  process.exit(77);
}
const cpus = (await openCpus()).filter((cpu) => cpuNames.test(cpu.name));
const oracle = new NativeOracle();
const signature = hostSignature();
const choices = choicesOf(signature);
console.log(
  `silicon: ${signatureText(signature)}${choices === null ? ', not known: what the manual leaves open is reported only' : ''}; comparing: ${cpus.map((cpu) => cpu.name).join(', ') || 'nothing (no adapter)'}`,
);
const start = performance.now();
const timeUp = (): boolean => performance.now() - start > limits.seconds * 1000;
let wrong = 0;
const ran: Campaign = {};
for (const { name, mode } of modes) {
  const stream = new CaseStream({
    mode,
    forms: filter,
    ...sizes,
  });
  if (stream.forms.length === 0) continue;
  const chosen = cpus.filter((cpu) => isSegmented(mode) || !cpu.name.includes('compatibility'));
  const comparisons = chosen.map(() => new Comparison(choices, examples));
  let done = 0;
  const before = oracle.seconds;
  while (done < limits.cases && !timeUp()) {
    const batch = stream.next(Math.min(BATCH, limits.cases - done));
    const host = oracle.run(batch.cases.bytes);
    chosen.forEach((cpu, i) => {
      compareBatch(batch, oracle, cpu, comparisons[i]!, host);
    });
    done += batch.count;
  }
  const least = (form: string): number => Math.min(...comparisons.map(({ rows }) => rows.get(form)?.cases ?? 0));
  ran[name] = {
    silicon: signatureText(signature),
    seed: values.seed,
    cpus: chosen.map((cpu) => cpu.name),
    cases: done,
    differing: comparisons.reduce((sum, x) => sum + x.total().mismatches, 0),
    forms: Object.fromEntries(stream.forms.map((form) => [form.name, least(form.name)])),
  };
  const perSecond = Math.round(done / (oracle.seconds - before));
  console.log(`mode ${name}: ${stream.forms.length} forms, ${done} cases, silicon ran ${perSecond} cases/s`);
  chosen.forEach((cpu, i) => {
    const total = comparisons[i]!.total();
    wrong += total.mismatches + total.unimplemented;
    console.log(comparisons[i]!.table(values.all));
    const open = comparisons[i]!.report(signature);
    if (open !== null) console.log(open);
    console.log(
      `${cpu.name}, mode ${name}: ${total.cases} cases of ${total.forms} forms; ${total.mismatches} differ, ` +
        `${total.unimplemented} unimplemented, ${total.skipped} undefined; ${total.wrongForms} forms are not clean${cpu.inRegions ? `; ${cpu.inRegions} cases in regions so far` : ''}`,
    );
  });
}
oracle.close();
if (values.report !== undefined) writeReport(values.report, ran, values.form !== '.');
console.log(`${((performance.now() - start) / 1000).toFixed(1)} s`);
process.exit(wrong > 0 ? 1 : 0);
