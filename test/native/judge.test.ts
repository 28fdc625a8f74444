/** What gates where: hosts that are not at hand are simulated, their outcomes made of the pinned ones. */
import { describe, expect, it } from 'vitest';
import { Comparison } from './compare.ts';
import { operandAddresses } from './generate.ts';
import { type Choices, choicesOf, parseSignature, type Signature, signatureText } from './hosts.ts';
import { nextFetchFaulted } from './intel.ts';
import { PINNED_FILES, readPinned, templatesOf } from './pinned.ts';
import { type CaseRecord, DATA_BASE, OutcomeRecord, PAGE, VECTOR_NONE } from './records.ts';
import type { Template } from './templates.ts';

const CF = 1;
const ZF = 0x40;
const PROTECTION = 13;
const PAGE_FAULT = 14;
/** EPYC of the generation before the pinned one; the model name is the same. */
const MILAN: Signature = { vendor: 'AuthenticAMD', family: 25, model: 1, stepping: 1 };
/** No row knows it. */
const STRANGER: Signature = { vendor: 'GenuineIntel', family: 6, model: 1000, stepping: 0 };

const pinned = new Map(
  PINNED_FILES.map(([name]) => {
    const vectors = readPinned(name);
    return [name, { vectors, templates: templatesOf(vectors, /^(Cmps[bwdq]_m|Bs[fr]_|Add_|Mov_r64_rm64)/) }];
  }),
);

/** A change that simulated silicon makes to the outcome of a case; false where the case is not of that kind. */
type Change = (template: Template, record: CaseRecord, outcome: OutcomeRecord) => boolean;

/** Simulated silicon of these choices beside the pinned outcomes of a mode. */
function compare(mode: string, choices: Choices | null, change: Change): { comparison: Comparison; changed: number } {
  const { vectors, templates } = pinned.get(mode)!;
  const host = new OutcomeRecord(vectors.outcomes.bytes.slice());
  const comparison = new Comparison(choices);
  let changed = 0;
  for (const [i, template] of templates) {
    const record = vectors.cases.at(i);
    if (change(template, record, host.at(i))) changed++;
    comparison.book(template, record, host, vectors.outcomes.at(i));
  }
  return { comparison, changed };
}

/** The other operand of a comparison of strings is found first: #PF instead of #GP, or of another address. */
const otherOperandFirst: Change = (template, record, outcome) => {
  if (!/^Cmps/.test(template.form.name) || outcome.vector === VECTOR_NONE) return false;
  const outside = operandAddresses(template, record).find(
    (at) => (at < BigInt(DATA_BASE) || at >= BigInt(DATA_BASE + 2 * PAGE)) && at < 2n ** 32n && at !== outcome.cr2,
  );
  if (outside === undefined) return false;
  outcome.vector = PAGE_FAULT;
  outcome.error = 4;
  outcome.cr2 = outside;
  return true;
};
/** BSR has another CF, seen where the fetch of the next instruction faults. */
const otherCarryOfBsr: Change = ({ form }, record, outcome) => {
  if (form.mnemonic !== 'bsr' || !nextFetchFaulted(record, outcome)) return false;
  outcome.rflags ^= CF;
  return true;
};

/** Silicon that would be broken. */
const BROKEN: Record<string, Change> = {
  'a sum': ({ form }, _, outcome) => {
    if (form.mnemonic !== 'add' || outcome.vector !== VECTOR_NONE) return false;
    outcome.setGpr(0, outcome.gpr(0) ^ 1n);
    return true;
  },
  'a defined flag of BSR': ({ form }, _, outcome) => {
    if (form.mnemonic !== 'bsr' || outcome.vector !== VECTOR_NONE) return false;
    outcome.rflags ^= ZF;
    return true;
  },
  'a fault of an instruction without a reason for it': ({ form }, record, outcome) => {
    if (!/^Add_.* reg$/.test(form.name) || outcome.vector !== VECTOR_NONE) return false;
    outcome.vector = PROTECTION;
    outcome.rip -= BigInt(record.code.length);
    return true;
  },
  'no fault of an instruction that faults': ({ form }, record, outcome) => {
    if (!/^Add_.* mem$/.test(form.name) || outcome.vector !== PAGE_FAULT) return false;
    outcome.vector = VECTOR_NONE;
    outcome.cr2 = 0n;
    outcome.error = 0;
    outcome.rip += BigInt(record.code.length);
    return true;
  },
  'the address of a #PF, none of the operands': ({ form }, _, outcome) => {
    if (!/^(Add_.* mem|Cmps.*)$/.test(form.name) || outcome.vector !== PAGE_FAULT) return false;
    outcome.cr2 ^= 0x40_0000n;
    return true;
  },
};

describe('a host', () => {
  it('is its vendor, family, model and stepping, not its model name', () => {
    const text =
      'processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nstepping\t: 1\n';
    expect(parseSignature(text)).toEqual(MILAN);
    expect(choicesOf(MILAN)).toBeNull();
    expect(choicesOf({ vendor: 'GenuineIntel', family: 6, model: 207, stepping: 2 })).toBe('Intel');
    expect(choicesOf({ vendor: 'GenuineIntel', family: 6, model: 207, stepping: 3 })).toBeNull();
    expect(choicesOf(parseSignature(''))).toBeNull();
  });
});

describe.each(PINNED_FILES)('mode %s', (mode) => {
  it('what the manual leaves open is reported on a host that is not known, and fails on one that is', () => {
    for (const change of [otherOperandFirst, otherCarryOfBsr]) {
      const { comparison, changed } = compare(mode, choicesOf(MILAN), change);
      expect(comparison.total(), comparison.table(false)).toMatchObject({ mismatches: 0, open: changed });
      expect(compare(mode, 'AMD', change).comparison.total()).toMatchObject({ mismatches: changed, open: 0 });
      if (changed > 0)
        expect(comparison.report(MILAN)).toMatch(
          new RegExp(`^${signatureText(MILAN)}: ${changed} of \\d+ cases .*(Cmps|Bsr)`),
        );
    }
    expect(compare(mode, choicesOf(MILAN), otherOperandFirst).changed).toBeGreaterThan(0);
  });

  it.each(Object.entries(BROKEN))('%s is wrong on every host', (_, change) => {
    for (const choices of [choicesOf(MILAN), choicesOf(STRANGER), 'Intel', 'AMD'] as const) {
      const { comparison, changed } = compare(mode, choices, change);
      expect(changed).toBeGreaterThan(0);
      expect(comparison.total()).toMatchObject({ mismatches: changed, open: 0 });
    }
  });
});

it('the flags of BSR before a fault of the next fetch are among the pinned cases', () => {
  expect(PINNED_FILES.reduce((sum, [mode]) => sum + compare(mode, null, otherCarryOfBsr).changed, 0)).toBeGreaterThan(
    0,
  );
});
