/**
 * Records the pinned vectors of test/vectors/silicon from this host's CPU: `node tools/run.mjs pin-vectors [--seed N] [--mode NAME]
 * [--form REGEX]`; with `--form` the cases of other forms stay.
 * Of many random cases per form it keeps a few that end differently.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CaseStream } from '../test/native/campaign.ts';
import { enumerateForms } from '../test/native/enumerate.ts';
import { choicesOf, hostSignature, signatureText } from '../test/native/hosts.ts';
import { NativeOracle } from '../test/native/oracle.ts';
import { readPinned } from '../test/native/pinned.ts';
import {
  CASE_OFFSETS,
  CASE_SIZE,
  CaseRecord,
  MODE_64,
  MODE_COMPAT,
  MODE_PROT16,
  MODE_PROT32,
  OUTCOME_SIZE,
  OutcomeRecord,
  VECTOR_NONE,
} from '../test/native/records.ts';
import { ignoredParts } from '../test/native/undefined.ts';
import { encodeVectors, quieten, type Vectors } from '../test/native/vectors.ts';
import { commandLine, countOf, oneOf, patternOf } from './command-line.ts';

const { values } = commandLine({
  options: {
    seed: { type: 'string', default: '2026' },
    mode: { type: 'string', default: 'all' },
    form: { type: 'string', default: '.' },
  },
});
const FOLDER = resolve(import.meta.dirname, '../test/vectors/silicon');
/** Random cases tried of each form. */
const TRIES = 64;
/** How many of them are kept. */
const FILES = [
  { mode: MODE_64, name: '64', keep: 8 },
  { mode: MODE_COMPAT, name: 'compat', keep: 5 },
  { mode: MODE_PROT32, name: 'prot32', keep: 2 },
  { mode: MODE_PROT16, name: 'prot16', keep: 2 },
];
/** Forms of which all are kept: their immediate selects among many operations. */
const MANY = /^(Pcmp[ei]str|Round|Dpp|Mpsadbw|Insertps)/;

/** The cases of a file, each with the name of its form. */
function entriesOf({
  header,
  cases,
  outcomes,
}: Vectors): Array<{ form: string; input: Uint8Array; outcome: Uint8Array }> {
  return Array.from({ length: header.count }, (_, i) => ({
    form: header.forms[cases.at(i).tag]!,
    input: cases.bytes.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE),
    outcome: outcomes.bytes.subarray(i * OUTCOME_SIZE, (i + 1) * OUTCOME_SIZE),
  }));
}

const filter = patternOf(values.form, '--form');
const seed = BigInt(countOf(values.seed, '--seed'));
const wanted = oneOf(values.mode, '--mode', [...FILES.map(({ name }) => name), 'all']);
mkdirSync(FOLDER, { recursive: true });
const host = hostSignature();
const choices = choicesOf(host) ?? 'AMD';
const oracle = new NativeOracle();
for (const { mode, name, keep } of FILES.filter((file) => wanted === 'all' || wanted === file.name)) {
  const stream = new CaseStream({ mode, seed, forms: filter, encodings: TRIES });
  const { cases, count, templates } = stream.next(stream.forms.length * TRIES);
  for (let i = 0; i < count; i++) quieten(templates[cases.at(i).tag]!, cases);
  const outcomes = oracle.run(cases.bytes);
  const chosen: number[] = [];
  stream.forms.forEach(({ name: formName }, form) => {
    const ended: number[] = [];
    const faulted: number[] = [];
    for (let turn = 0; turn < TRIES; turn++) {
      const i = turn * stream.forms.length + form;
      const template = templates[cases.at(i).tag]!;
      if (ignoredParts(template, cases, outcomes.at(i), choices).skip !== null) continue;
      (outcomes.vector === VECTOR_NONE ? ended : faulted).push(i);
    }
    chosen.push(
      ...[...ended.splice(0, 1), ...faulted.splice(0, 1), ...ended, ...faulted].slice(
        0,
        MANY.test(formName) ? TRIES : keep,
      ),
    );
  });
  const fresh = chosen.map((i) => ({
    form: stream.forms[i % stream.forms.length]!.name,
    input: cases.bytes.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE),
    outcome: outcomes.bytes.subarray(i * OUTCOME_SIZE, (i + 1) * OUTCOME_SIZE),
  }));
  const before = values.form === '.' ? null : readPinned(name);
  const pinned = [...(before === null ? [] : entriesOf(before).filter((x) => !filter.test(x.form))), ...fresh];
  const forms = enumerateForms(mode).forms.map((form) => form.name);
  const tags = new Map(forms.map((form, tag) => [form, tag]));
  pinned.sort((a, b) => tags.get(a.form)! - tags.get(b.form)!);
  const pinnedCases = new CaseRecord(new Uint8Array(pinned.length * CASE_SIZE));
  const pinnedOutcomes = new OutcomeRecord(new Uint8Array(pinned.length * OUTCOME_SIZE));
  pinned.forEach(({ form, input, outcome }, to) => {
    pinnedCases.bytes.set(input, to * CASE_SIZE);
    pinnedOutcomes.bytes.set(outcome, to * OUTCOME_SIZE);
    pinnedCases.view.setUint32(to * CASE_SIZE + CASE_OFFSETS.tag, tags.get(form)!, true);
  });
  const cpu = before === null ? signatureText(host) : `${before.header.cpu}; ${signatureText(host)}: ${values.form}`;
  const header = { format: 'silicon vectors 1' as const, mode, cpu, count: pinned.length, forms };
  const file = encodeVectors({ header, cases: pinnedCases, outcomes: pinnedOutcomes });
  writeFileSync(join(FOLDER, `${name}.bin.zst`), file);
  console.log(`${name}: ${forms.length} forms, ${pinned.length} cases, ${file.length} bytes`);
}
oracle.close();
