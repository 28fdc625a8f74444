/**
 * Where our CPU is known to differ from silicon. Such cases are counted apart, so that anything new stands out; an entry goes
 * when its cause does.
 */
import { type CaseRecord, isSegmented, type OutcomeRecord, VECTOR_NONE } from './records.ts';
import type { Template } from './templates.ts';

const CS = 1;
const VECTOR_PF = 14;

/** One known difference. */
export interface Gap {
  what: string;
  is(template: Template, record: CaseRecord, host: OutcomeRecord): boolean;
}

/** The known differences. */
export const GAPS: readonly Gap[] = [
  {
    what: 'CLFLUSH through CS is allowed where code is execute-only (SDM vol. 2A "CLFLUSH"); here it is checked as a load',
    is: (template, record, host) =>
      template.form.mnemonic === 'clflush' &&
      isSegmented(record.mode) &&
      template.memory.some((use) => use.segment === CS) &&
      (host.vector === VECTOR_NONE || host.vector === VECTOR_PF),
  },
];
