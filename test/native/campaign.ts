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
  /** Cases in a row with the same code, 1 by default: a CPU that translates needs to do so once for them. */
  group?: number;
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
  readonly #group: number;
  #turn = 0;
  /** Tag of the case before; its code, and where it lies. */
  #tag = 0;
  readonly #leader = new CaseRecord(new Uint8Array(CASE_SIZE));

  constructor(options: CampaignOptions) {
    this.#random = new SplitMix64(options.seed);
    this.#group = options.group ?? 1;
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
      const place = this.#turn++;
      if (place % this.#group > 0) {
        generateCase(this.#templates[this.#tag]!, cases.at(i), this.#random, this.#tag, this.#leader);
        continue;
      }
      const form = (place / this.#group) % this.forms.length;
      const start = this.#starts[form]!;
      this.#tag = start + this.#random.below(this.#starts[form + 1]! - start);
      generateCase(this.#templates[this.#tag]!, cases.at(i), this.#random, this.#tag);
      this.#leader.bytes.set(cases.bytes.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE));
    }
    return { cases, count, templates: this.#templates };
  }
}

/** Compares `cpu` with silicon on one batch; `host`: what silicon made of it, where that is known already. */
export function compareBatch(
  batch: Batch,
  oracle: NativeOracle,
  cpu: CpuUnderTest,
  comparison: Comparison,
  host = oracle.run(batch.cases.bytes),
): void {
  const scratch = new OutcomeRecord(new Uint8Array(OUTCOME_SIZE));
  for (let i = 0; i < batch.count; i++) {
    const record = batch.cases.at(i);
    comparison.check(cpu, batch.templates[record.tag]!, record, host.at(i), scratch);
  }
}
