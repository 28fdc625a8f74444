/**
 * Where our CPU is known to differ from silicon. Such cases are counted apart, so that anything new stands out; an entry goes
 * when its cause does.
 */
import { type CaseRecord, MODE_COMPAT, type OutcomeRecord } from './records.ts';
import type { Template } from './templates.ts';

/** One known difference. */
export interface Gap {
  what: string;
  is(template: Template, record: CaseRecord, host: OutcomeRecord): boolean;
}

const CS_OVERRIDE = 0x2e;
const VECTOR_GP = 13;

/** The known differences. */
export const GAPS: readonly Gap[] = [
  {
    what: 'a store through CS outside 64-bit mode: #GP, as code segments are not writable (SDM vol. 3A 5.5)',
    is: (template, record, host) =>
      record.mode === MODE_COMPAT && host.vector === VECTOR_GP && template.code.subarray(0, 5).includes(CS_OVERRIDE),
  },
];
