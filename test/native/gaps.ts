/**
 * Where our CPU is known to differ from silicon. Such cases are counted apart, so that anything new stands out; an entry goes
 * when its cause does.
 */
import type { CaseRecord, OutcomeRecord } from './records.ts';
import type { Template } from './templates.ts';

/** One known difference. */
export interface Gap {
  what: string;
  is(template: Template, record: CaseRecord, host: OutcomeRecord): boolean;
}

/** The known differences. */
export const GAPS: readonly Gap[] = [];
