import { describe, expect, it } from 'vitest';
import { Comparison } from '../native/compare.ts';
import { haveCpus, openCpus } from '../native/cpus.ts';
import { enumerateForms } from '../native/enumerate.ts';
import { choicesOf, hostSignature, signatureText } from '../native/hosts.ts';
import { NativeOracle, oracleMissing } from '../native/oracle.ts';
import { PINNED_FILES, readPinned, templatesOf } from '../native/pinned.ts';
import { OUTCOME_SIZE, OutcomeRecord } from '../native/records.ts';

/** The vectors are of the silicon that the CPU of ours follows. */
const PINNED_CHOICES = 'AMD';

describe.each(PINNED_FILES)('pinned silicon vectors, mode %s', (name, mode) => {
  const vectors = readPinned(name);
  const missing = oracleMissing(mode);

  it('cover every form in scope', () => {
    const pinned = new Set<string>();
    for (let i = 0; i < vectors.header.count; i++) pinned.add(vectors.header.forms[vectors.cases.at(i).tag]!);
    expect(enumerateForms(mode).forms.filter((form) => !pinned.has(form.name))).toEqual([]);
  });

  it.skipIf(missing !== null)(
    `are what this host does where a manual defines it${missing === null ? '' : ` (skipped: ${missing})`}`,
    () => {
      const oracle = new NativeOracle();
      const now = oracle.run(vectors.cases.bytes);
      oracle.close();
      const templates = templatesOf(vectors);
      const signature = hostSignature();
      const comparison = new Comparison(choicesOf(signature));
      for (let i = 0; i < vectors.header.count; i++)
        comparison.book(templates.get(i)!, vectors.cases.at(i), now.at(i), vectors.outcomes.at(i));
      const { cases, mismatches, skipped } = comparison.total();
      console.log(
        `mode ${name} on ${signatureText(signature)}: ${cases} cases, ${mismatches} wrong, ${skipped} skipped`,
      );
      const open = comparison.report(signature);
      if (open !== null) console.log(open);
      expect(mismatches, comparison.table(false)).toBe(0);
    },
  );

  it.skipIf(!haveCpus())(
    `hold on our CPU${haveCpus() ? '' : ' (skipped: test/native/cpu.ts is not there)'}`,
    async () => {
      const templates = templatesOf(vectors);
      const scratch = new OutcomeRecord(new Uint8Array(OUTCOME_SIZE));
      for (const cpu of await openCpus()) {
        const comparison = new Comparison(PINNED_CHOICES);
        for (let i = 0; i < vectors.header.count; i++)
          comparison.check(cpu, templates.get(i)!, vectors.cases.at(i), vectors.outcomes.at(i), scratch);
        const { mismatches, unimplemented, skipped } = comparison.total();
        // a mask that grows shows here: one case was pinned before a mask came that passes over it
        expect({ mismatches, unimplemented, skipped }, `${cpu.name}\n${comparison.table(false)}`).toEqual({
          mismatches: 0,
          unimplemented: 0,
          skipped: name === 'prot32' ? 1 : 0,
        });
      }
    },
  );
});
