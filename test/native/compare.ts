/** Compares a CPU of ours with recorded silicon, case by case, and keeps the table of forms. */
import { describeCase } from './differences.ts';
import { type Choices, type Signature, signatureText } from './hosts.ts';
import { judge } from './judge.ts';
import type { CaseRecord, OutcomeRecord } from './records.ts';
import type { Template } from './templates.ts';
import { ignoredParts } from './undefined.ts';

/** A CPU that can run one case. */
export interface CpuUnderTest {
  readonly name: string;
  /**
   * Runs the case's code to its end as oracle.h describes and fills every field of `outcome` that the oracle fills. Returns
   * `unimplemented` when the instruction is outside the CPU's scope.
   */
  run(input: CaseRecord, outcome: OutcomeRecord): 'done' | 'unimplemented';
  /** Cases that a region of translated code executed so far; absent where there are none. */
  readonly inRegions?: number;
}

/** One row of the table. */
export interface FormResult {
  name: string;
  cases: number;
  mismatches: number;
  skipped: number;
  unimplemented: number;
  /** Cases that differ in what the manual leaves open, on silicon whose way is not known. */
  open: number;
  /** Readable first mismatches. */
  examples: string[];
}

/** Counts by form; `examples` mismatches of each are kept in full. */
export class Comparison {
  readonly rows = new Map<string, FormResult>();
  readonly #choices: Choices | null;
  readonly #examples: number;
  /** `choices`: those of the silicon that is compared with, null where nobody knows them. */
  constructor(choices: Choices | null, examples = 1) {
    this.#choices = choices;
    this.#examples = examples;
  }

  /** Runs one case on `cpu` and books the result. Returns true when nothing differed. */
  check(
    cpu: CpuUnderTest,
    template: Template,
    record: CaseRecord,
    host: OutcomeRecord,
    scratch: OutcomeRecord,
  ): boolean {
    if (ignoredParts(template, record, host, this.#choices ?? 'AMD').skip === null) {
      scratch.bytes.fill(0, scratch.base, scratch.base + 168);
      if (cpu.run(record, scratch) === 'unimplemented') {
        const row = this.#rowOf(template);
        row.cases++;
        row.unimplemented++;
        return false;
      }
    }
    return this.book(template, record, host, scratch);
  }

  /** Judges what silicon made of a case beside `ours`, and books it. Returns false when it is wrong. */
  book(template: Template, record: CaseRecord, host: OutcomeRecord, ours: OutcomeRecord): boolean {
    const row = this.#rowOf(template);
    row.cases++;
    const { kind, lines } = judge(template, record, host, ours, this.#choices);
    if (kind === 'skipped') row.skipped++;
    if (kind === 'open') row.open++;
    if (kind !== 'wrong') return true;
    row.mismatches++;
    if (row.examples.length < this.#examples)
      row.examples.push([`  ${describeCase(record)}`, ...lines.map((line) => `      ${line}`)].join('\n'));
    return false;
  }

  #rowOf(template: Template): FormResult {
    const { name } = template.form;
    let row = this.rows.get(name);
    if (row === undefined) {
      row = { name, cases: 0, mismatches: 0, skipped: 0, unimplemented: 0, open: 0, examples: [] };
      this.rows.set(name, row);
    }
    return row;
  }

  total(): Omit<FormResult, 'name' | 'examples'> & { forms: number; wrongForms: number } {
    const sum = {
      forms: this.rows.size,
      wrongForms: 0,
      cases: 0,
      mismatches: 0,
      skipped: 0,
      unimplemented: 0,
      open: 0,
    };
    for (const row of this.rows.values()) {
      sum.cases += row.cases;
      sum.mismatches += row.mismatches;
      sum.skipped += row.skipped;
      sum.unimplemented += row.unimplemented;
      sum.open += row.open;
      if (row.mismatches + row.unimplemented > 0) sum.wrongForms++;
    }
    return sum;
  }

  /** The table of forms; without `all` only those that differ or are unimplemented. */
  table(all: boolean): string {
    const rows = [...this.rows.values()].filter((row) => all || row.mismatches + row.unimplemented > 0);
    const lines = [`${'form'.padEnd(36)} ${'cases'.padStart(8)} ${'differ'.padStart(8)} ${'missing'.padStart(8)}`];
    for (const row of rows)
      lines.push(
        `${row.name.padEnd(36)} ${String(row.cases).padStart(8)} ${String(row.mismatches).padStart(8)} ${String(row.unimplemented).padStart(8)}`,
        ...row.examples,
      );
    return lines.join('\n');
  }

  /** One line on what was only reported, by form, for silicon of this signature; null when there is nothing to report. */
  report(signature: Signature): string | null {
    const { open, cases } = this.total();
    if (open === 0) return null;
    const forms = [...this.rows.values()].filter((row) => row.open > 0).map((row) => `${row.name} ${row.open}`);
    return `${signatureText(signature)}: ${open} of ${cases} cases differ in what the manual leaves open (reported only): ${forms.join(', ')}`;
  }
}
