/**
 * Which silicon a host is: vendor, family, model and stepping, as CPUID leaves 0 and 1 give them. A model *name* says nothing: cloud
 * hosts of several generations call themselves "AMD EPYC". What a manual defines is compared on every host; what it leaves open
 * is compared where this table knows the host, and reported elsewhere (docs/decisions/0034-hosts.md).
 */
import { readFileSync } from 'node:fs';

/** A host's CPU; family and model with their extended bits, as Linux prints them. */
export interface Signature {
  readonly vendor: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
}

/** Whose way a CPU takes where the manual leaves one open: AMD's family 1Ah, which the CPU of ours follows, or that of intel.ts. */
export type Choices = 'AMD' | 'Intel';

/** What is known of silicon. */
export interface KnownSilicon {
  /** A stepping that nobody noted is null: no host is taken for it. */
  readonly signature: Omit<Signature, 'model' | 'stepping'> & {
    readonly model: number;
    readonly stepping: number | null;
  };
  /** Null: it differs from every row in what is open, so that this is only reported. */
  readonly choices: Choices | null;
  /** Where it was seen, and what. */
  readonly seen: string;
}

/** The hosts that ran the comparison. The vectors of test/vectors/silicon are from an AMD family 1Ah whose model was not noted. */
const KNOWN_SILICON: readonly KnownSilicon[] = [
  {
    signature: { vendor: 'GenuineIntel', family: 6, model: 207, stepping: 2 },
    choices: 'Intel',
    seen: 'the differences that intel.ts lists, and which of two faults of a comparison of strings or of BOUND is first',
  },
  {
    signature: { vendor: 'AuthenticAMD', family: 25, model: 1, stepping: null },
    choices: null,
    seen: 'against the pinned family 1Ah: #GP or #PF and CR2 of REPE CMPS whose operands both fault; CF of BSR',
  },
];

/** The signature in a text of the form of /proc/cpuinfo: its first processor's. A field that is missing is '' or -1. */
export function parseSignature(text: string): Signature {
  const field = (name: string): string | undefined => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(text)?.[1]?.trim();
  const number = (name: string): number => Number(field(name) ?? -1);
  return {
    vendor: field('vendor_id') ?? '',
    family: number('cpu family'),
    model: number('model'),
    stepping: number('stepping'),
  };
}

/** This host's signature; outside Linux one that nothing knows. */
export function hostSignature(): Signature {
  if (process.platform !== 'linux') return parseSignature('');
  return parseSignature(readFileSync('/proc/cpuinfo', 'utf8'));
}

/** The signature as reports write it. */
export const signatureText = ({ vendor, family, model, stepping }: Signature): string =>
  `${vendor || 'unknown vendor'} family ${family} model ${model} stepping ${stepping}`;

/** The way that silicon of this signature takes where the manual leaves one open; null where that is not known. */
export function choicesOf(signature: Signature): Choices | null {
  const known = KNOWN_SILICON.find(
    ({ signature: { vendor, family, model, stepping } }) =>
      vendor === signature.vendor &&
      family === signature.family &&
      model === signature.model &&
      stepping === signature.stepping,
  );
  return known?.choices ?? null;
}
