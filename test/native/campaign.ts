/** A run of random cases over forms: batches are generated, executed by silicon, then compared with a CPU of ours. */
import type { Comparison, CpuUnderTest } from './compare.ts';
import { enumerateForms, type Form } from './enumerate.ts';
import { generateCase } from './generate.ts';
import type { NativeOracle } from './oracle.ts';
import { SplitMix64 } from './random.ts';
import { CASE_SIZE, CaseRecord, OUTCOME_SIZE, OutcomeRecord } from './records.ts';
import { type Template, TemplateBuilder } from './templates.ts';

/** What to run. */
export interface CampaignOptions {
  mode: number;
  seed: bigint;
  /** Forms whose name matches. */
  forms: RegExp;
  /** Encodings tried of each form. */
  encodings: number;
}

/** A batch of cases; `tag` of each indexes `templates`. */
export interface Batch {
  cases: CaseRecord;
  count: number;
  templates: Template[];
}

/** An endless stream of cases that visits the forms in turn, so that each gets the same number. */
export class CaseStream {
  readonly forms: Form[];
  readonly #templates: Template[] = [];
  /** Index of the first template of each form; one more at the end. */
  readonly #starts: number[] = [0];
  readonly #random: SplitMix64;
  #turn = 0;

  constructor(options: CampaignOptions) {
    this.#random = new SplitMix64(options.seed);
    this.forms = enumerateForms(options.mode).forms.filter((form) => options.forms.test(form.name));
    const builder = new TemplateBuilder();
    for (const form of this.forms) {
      const templates = builder.build(form, this.#random, options.encodings);
      if (templates.length === 0) throw new Error(`no encoding of ${form.name}`);
      this.#templates.push(...templates);
      this.#starts.push(this.#templates.length);
    }
    builder.free();
  }

  /** The next `count` cases, in a fresh buffer. */
  next(count: number): Batch {
    const cases = new CaseRecord(new Uint8Array(count * CASE_SIZE));
    for (let i = 0; i < count; i++) {
      const form = this.#turn++ % this.forms.length;
      const start = this.#starts[form]!;
      const tag = start + this.#random.below(this.#starts[form + 1]! - start);
      generateCase(this.#templates[tag]!, cases.at(i), this.#random, tag);
    }
    return { cases, count, templates: this.#templates };
  }
}

/** Compares `cpu` with silicon on one batch. */
export function compareBatch(batch: Batch, oracle: NativeOracle, cpu: CpuUnderTest, comparison: Comparison): void {
  const host = oracle.run(batch.cases.bytes);
  const scratch = new OutcomeRecord(new Uint8Array(OUTCOME_SIZE));
  for (let i = 0; i < batch.count; i++) {
    const record = batch.cases.at(i);
    comparison.check(cpu, batch.templates[record.tag]!, record, host.at(i), scratch);
  }
}
