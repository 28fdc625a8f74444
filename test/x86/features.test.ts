/** The features of forms against iced-x86, and CPUID against what the decoder accepts. */
import { expect, test } from 'vitest';
import { decode } from '../../src/x86/decode/decode.ts';
import { enumerateForms } from '../../src/x86/decode/enumerate.ts';
import { cpuPolicyOf, FEATURES, type Feature, featureWord, policyHas } from '../../src/x86/features.ts';
import type { CodeMode } from '../../src/x86/form.ts';
import { Iced } from './iced.ts';

/** Iced's names where they differ from the manual's. */
const RENAMED: Readonly<Record<string, string>> = {
  SSE4_1: 'sse4.1',
  SSE4_2: 'sse4.2',
  CMPXCHG16B: 'cx16',
  FPU287: 'fpu',
  FPU387: 'fpu',
  FPU_ONLY: 'fpu',
  FPU287XL_ONLY: 'fpu',
  FPU387SL_ONLY: 'fpu',
};
const named = (iced: string): string => RENAMED[iced] ?? iced.toLowerCase();
/** The newest of an instruction's features decides. */
const AGE: readonly string[] = Object.keys(FEATURES);

/** Features of every x86-64 CPU, and such whose absence turns an instruction into another one. */
const GENERAL = /^(intel\d+|intel\d+_only|x64|cpuid|multibytenop|pause|rdpmc|udbg|prefetchw|cet_\w+|prefetchiti)$/;
/** Forms that iced counts to a later feature, which an older CPU executes as a hint or without the F3. */
const HINTS = /^(nop|bsf|bsr|wbinvd)$/;

const MODES = [1, 2] as const satisfies CodeMode[];
const FORMS = MODES.map((mode) => [mode, [...enumerateForms(mode, 'x86-64-v2')]] as const);

test.each(FORMS)('[E-01] the feature of every form of mode %i is that of iced-x86', (mode, forms) => {
  const wrong: string[] = [];
  for (const [form, bytes] of forms) {
    const slot = new Uint8Array(32);
    slot.set(bytes);
    const view = new Iced(mode === 2 ? 64 : 32, slot, 'x86-64-v2').at(0);
    if (HINTS.test(form.name)) continue;
    const features = view.features.map(named).filter((x) => !GENERAL.test(x));
    const newest = features.toSorted((a, b) => AGE.indexOf(a) - AGE.indexOf(b)).at(-1) ?? null;
    // LAHF is as old as the 8086, but a feature of its own in 64-bit mode; FCMOV needs FPU and CMOV
    const ours = form.feature === 'lahf' ? null : form.feature;
    const iced = newest === 'cmov' && ours === 'fpu' ? 'fpu' : newest === 'sep' ? null : newest;
    if (ours !== iced) wrong.push(`${form.key}: ${ours}, iced ${view.features.join(' ')}`);
  }
  expect(wrong).toEqual([]);
});

test.each(Object.keys(FEATURES) as Feature[])(
  '[E-01] %s is in CPUID exactly when its instructions decode',
  (feature) => {
    const { leaf, register, bit } = FEATURES[feature];
    for (const policy of ['x86-64-v1', 'x86-64-v2'] as const) {
      const shown = ((featureWord(policy, leaf, register) >>> bit) & 1) === 1;
      expect(shown, policy).toBe(policyHas(policy, feature));
      for (const [mode, forms] of FORMS)
        for (const [form, bytes] of forms)
          if (form.feature === feature)
            expect(decode(bytes, 0, bytes.length, 0, mode, policy) === 'invalid', form.key).toBe(!shown);
    }
  },
);

test('[E-01] x86-64-v2 adds SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT and LAHF', () => {
  // SDM vol. 2A table 3-10: bits 0 9 13 19 20 23 of ECX
  expect(featureWord('x86-64-v2', 1, 'ecx')).toBe(0x0098_2201);
  expect(featureWord('x86-64-v1', 1, 'ecx')).toBe(0);
  expect(featureWord('x86-64-v2', 0x80000001, 'ecx')).toBe(1);
  expect(featureWord('x86-64-v2', 1, 'edx')).toBe(featureWord('x86-64-v1', 1, 'edx'));
  expect([cpuPolicyOf('x86-64-v2'), cpuPolicyOf('x86-64-v3')]).toEqual(['x86-64-v2', null]);
});
