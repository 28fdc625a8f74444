/**
 * What a difference between silicon and the CPU of ours says. Where a manual defines the outcome, it is wrong on every host. Where the
 * manual leaves it open (undefined flags, what intel.ts lists, which of several faults of one instruction comes first) it is wrong on
 * silicon whose choices are known, and only reported on any other.
 */
import { differences } from './differences.ts';
import { operandAddresses } from './generate.ts';
import type { Choices } from './hosts.ts';
import {
  type CaseRecord,
  DATA_BASE,
  isSegmented,
  MODE_64,
  OUTCOME_SIZE,
  OutcomeRecord,
  PAGE,
  VECTOR_NONE,
} from './records.ts';
import type { Template } from './templates.ts';
import { ignoredParts } from './undefined.ts';

/** `skipped`: the case says nothing; `open`: the manual allows both, and nobody knows which way this silicon goes. */
export interface Verdict {
  readonly kind: 'same' | 'skipped' | 'open' | 'wrong';
  /** The differences, of `open` and `wrong`. */
  readonly lines: readonly string[];
}

const SAME: Verdict = { kind: 'same', lines: [] };
const SKIPPED: Verdict = { kind: 'skipped', lines: [] };
const AC = 0x40000;
const BOUND_RANGE = 5;
const STACK = 12;
const PROTECTION = 13;
const PAGE_FAULT = 14;
const X87 = 16;
const ALIGNMENT = 17;
const SIMD = 19;
/** Bytes around an operand that an access of a size not told, a repeated one or one of the stack may touch. */
const REACH = 512n;
/** Of these Intel's silicon, as far as it is known, reads the operands in another order. */
const INTEL_READS_OTHERWISE = /^(cmps[bwdq]|bound)$/;

const isCanonical = (address: bigint): boolean => BigInt.asIntN(48, address) === BigInt.asIntN(64, address);

/** True when the case gives silicon a reason to raise the fault that `outcome` ended with. */
function hasReason(template: Template, record: CaseRecord, outcome: OutcomeRecord): boolean {
  const { memory, form } = template;
  const addresses = operandAddresses(template, record);
  const reach = (i: number): bigint => {
    const { size } = memory[i]!;
    return size === 0 || template.repeated ? REACH : BigInt(size);
  };
  switch (outcome.vector) {
    case PAGE_FAULT: {
      if (outcome.cr2 >= BigInt(DATA_BASE) && outcome.cr2 < BigInt(DATA_BASE + PAGE)) return false;
      return addresses.some((at, i) => {
        const before = template.repeated || reach(i) === REACH ? REACH : 0n;
        return outcome.cr2 >= at - before && outcome.cr2 < at + reach(i);
      });
    }
    case ALIGNMENT:
      return (record.rflags & AC) !== 0 && memory.length > 0;
    case STACK:
    case PROTECTION:
      if (isSegmented(record.mode)) return memory.length > 0;
      if (template.step) return true;
      return addresses.some((at, i) => {
        if (memory[i]!.size >= 16 && (at & 15n) !== 0n) return true;
        if (record.mode !== MODE_64) return at + reach(i) > 2n ** 32n;
        return !isCanonical(at) || !isCanonical(at + reach(i)) || (template.repeated && !isCanonical(at - reach(i)));
      });
    case X87:
    case SIMD:
      return template.fp;
    case BOUND_RANGE:
      return form.mnemonic === 'bound';
    default:
      return false;
  }
}

/**
 * True when both ended with a fault of the same instruction, the case gives reason for either, and nothing else differs under
 * `choices`. SDM vol. 3A, table "Priority Among Concurrent Events": the order inside the class of faults on executing an
 * instruction is the implementation's.
 */
function isPriority(
  template: Template,
  record: CaseRecord,
  host: OutcomeRecord,
  ours: OutcomeRecord,
  choices: Choices,
): boolean {
  if (host.vector === VECTOR_NONE || ours.vector === VECTOR_NONE || host.rip !== ours.rip) return false;
  if (!hasReason(template, record, host) || !hasReason(template, record, ours)) return false;
  const other = new OutcomeRecord(ours.bytes.slice(ours.base, ours.base + OUTCOME_SIZE));
  other.vector = host.vector;
  other.error = host.error;
  other.cr2 = host.cr2;
  return differences(record, host, other, ignoredParts(template, record, host, choices)).length === 0;
}

/** True when a manual allows both outcomes. */
function isOpen(template: Template, record: CaseRecord, host: OutcomeRecord, ours: OutcomeRecord): boolean {
  if (isPriority(template, record, host, ours, 'Intel')) return true;
  return [host, ours].some((outcome) => {
    const ignored = ignoredParts(template, record, outcome, 'Intel');
    return ignored.skip !== null || differences(record, host, ours, ignored).length === 0;
  });
}

/** Judges one case: what silicon of these choices made of it, and what the CPU of ours, or the silicon that it follows, did. */
export function judge(
  template: Template,
  record: CaseRecord,
  host: OutcomeRecord,
  ours: OutcomeRecord,
  choices: Choices | null,
): Verdict {
  const ignored = ignoredParts(template, record, host, choices ?? 'AMD');
  if (ignored.skip !== null) return SKIPPED;
  const lines = differences(record, host, ours, ignored);
  if (lines.length === 0) return SAME;
  if (choices === null && isOpen(template, record, host, ours)) return { kind: 'open', lines };
  if (choices === 'Intel' && INTEL_READS_OTHERWISE.test(template.form.mnemonic))
    if (isPriority(template, record, host, ours, 'Intel')) return SKIPPED;
  return { kind: 'wrong', lines };
}
