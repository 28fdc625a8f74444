/**
 * Records the pinned vectors of test/vectors/silicon from this host's CPU: `node tools/run.mjs pin-vectors [--seed N] [--mode NAME]`.
 * Of many random cases per form it keeps a few that end differently.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CaseStream } from '../test/native/campaign.ts';
import { choicesOf, hostSignature, signatureText } from '../test/native/hosts.ts';
import { NativeOracle } from '../test/native/oracle.ts';
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
import { encodeVectors, quieten } from '../test/native/vectors.ts';
import { commandLine, countOf, oneOf } from './command-line.ts';

const { values } = commandLine({
  options: { seed: { type: 'string', default: '2026' }, mode: { type: 'string', default: 'all' } },
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

const seed = BigInt(countOf(values.seed, '--seed'));
const wanted = oneOf(values.mode, '--mode', [...FILES.map(({ name }) => name), 'all']);
mkdirSync(FOLDER, { recursive: true });
const host = hostSignature();
const choices = choicesOf(host) ?? 'AMD';
const oracle = new NativeOracle();
for (const { mode, name, keep } of FILES.filter((file) => wanted === 'all' || wanted === file.name)) {
  const stream = new CaseStream({ mode, seed, forms: /./, encodings: TRIES });
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
  chosen.sort((a, b) => cases.at(a).tag - cases.at(b).tag || a - b);
  const pinnedCases = new CaseRecord(new Uint8Array(chosen.length * CASE_SIZE));
  const pinnedOutcomes = new OutcomeRecord(new Uint8Array(chosen.length * OUTCOME_SIZE));
  chosen.forEach((from, to) => {
    pinnedCases.bytes.set(cases.bytes.subarray(from * CASE_SIZE, (from + 1) * CASE_SIZE), to * CASE_SIZE);
    pinnedOutcomes.bytes.set(
      outcomes.bytes.subarray(from * OUTCOME_SIZE, (from + 1) * OUTCOME_SIZE),
      to * OUTCOME_SIZE,
    );
    const form = from % stream.forms.length;
    pinnedCases.view.setUint32(to * CASE_SIZE + CASE_OFFSETS.tag, form, true);
  });
  const forms = stream.forms.map((form) => form.name);
  const header = { format: 'silicon vectors 1' as const, mode, cpu: signatureText(host), count: chosen.length, forms };
  const file = encodeVectors({ header, cases: pinnedCases, outcomes: pinnedOutcomes });
  writeFileSync(join(FOLDER, `${name}.bin.zst`), file);
  console.log(`${name}: ${forms.length} forms, ${chosen.length} cases, ${file.length} bytes`);
}
oracle.close();
