/**
 * Writes docs/instructions.md, the table of instruction forms and how each is tested: `node tools/run.mjs instructions`. Forms and
 * undefined flags are iced-x86's, cases those of the last campaign (docs/silicon.json) and of the pinned vectors, values of
 * undefined flags what src/x86/semantics/flags.ts says of them.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Excluded, enumerateForms, PASSED_OVER } from '../test/native/enumerate.ts';
import { SplitMix64 } from '../test/native/random.ts';
import { TemplateBuilder } from '../test/native/templates.ts';
import { decodeVectors } from '../test/native/vectors.ts';
import { VENDOR_DIFFERENCES } from '../test/native/vendors.ts';
import { commandLine } from './command-line.ts';

const ROOT = resolve(import.meta.dirname, '..');
export const PAGE = join(ROOT, 'docs/instructions.md');
/** What `node tools/run.mjs silicon --report` wrote. */
export const CAMPAIGN = join(ROOT, 'docs/silicon.json');
const VECTORS = join(ROOT, 'test/vectors/silicon');
const FLAGS = join(ROOT, 'src/x86/semantics/flags.ts');

/** The modes of the page; each has a file of vectors. */
const MODES = ['64', 'compat', 'prot32', 'prot16'] as const;

/** The last campaign against silicon in each mode that had one. */
export type Campaign = Record<string, CampaignMode>;
export interface CampaignMode {
  /** The host's CPU. */
  readonly silicon: string;
  readonly seed: string;
  /** Names of our CPUs that were compared. */
  readonly cpus: readonly string[];
  readonly cases: number;
  readonly differing: number;
  /** Cases of each form: of the CPU with the fewest. */
  readonly forms: Readonly<Record<string, number>>;
  /** Campaigns of forms that came after it. */
  readonly later?: readonly CampaignMode[];
}

/** Cases of a form in the campaigns of a mode. */
export const casesOf = (ran: CampaignMode | undefined, form: string): number =>
  (ran?.forms[form] ?? 0) + (ran?.later ?? []).reduce((sum, x) => sum + casesOf(x, form), 0);

/** What the manual leaves open beyond flags, by mnemonic, and what the comparison makes of it. */
const OPEN: ReadonlyMap<string, string> = new Map([
  ...['RCPPS', 'RCPSS', 'RSQRTPS', 'RSQRTSS'].map(
    (name) => [name, 'approximation: our own table, within 1.5 * 2^-12'] as const,
  ),
  ['FBLD', 'digits above 9 are not compared'],
  ...['F2XM1', 'FCOS', 'FPATAN', 'FPTAN', 'FSIN', 'FSINCOS', 'FYL2X', 'FYL2XP1'].map(
    (name) => [name, 'the exact value rounded; C1 and 1 ulp (2 unless to nearest) are not compared'] as const,
  ),
  ['FPREM', 'partial remainders are not compared'],
  ['FPREM1', 'partial remainders are not compared'],
]);

const RFLAGS: ReadonlyArray<readonly [string, number]> = [
  ['CF', 1],
  ['PF', 4],
  ['AF', 0x10],
  ['ZF', 0x40],
  ['SF', 0x80],
  ['OF', 0x800],
];
const CONDITION_CODES: ReadonlyArray<readonly [string, number]> = [
  ['C0', 0x100],
  ['C1', 0x200],
  ['C2', 0x400],
  ['C3', 0x4000],
];
const names = (bits: number, table: ReadonlyArray<readonly [string, number]>): string[] =>
  table.filter(([, bit]) => bits & bit).map(([name]) => name);

/** The values of undefined flags by mnemonic, from the table in the opening comment of flags.ts. */
export function definedValues(): Map<string, string> {
  const comment = readFileSync(FLAGS, 'utf8').split('*/')[0]!;
  const rows = comment.replaceAll(/\n \* {20,}/g, ' ').matchAll(/^ \* {3}([A-Z]+(?: [A-Z]+)*) {2,}(\S.*)$/gm);
  return new Map([...rows].flatMap(([, mnemonics, value]) => mnemonics!.split(' ').map((name) => [name, value!])));
}

interface Line {
  readonly name: string;
  readonly feature: string;
  readonly undefinedFlags: string;
  readonly mnemonic: string;
  /** By mode: cases of the last campaign and pinned ones. */
  readonly cases: Map<string, string>;
}

/** Every form of every mode, by name; and what is left out, by reason. */
function collect(campaign: Campaign): { lines: Line[]; excluded: Map<string, Excluded[]> } {
  const lines = new Map<string, Line>();
  const left = new Map<string, Excluded>();
  const builder = new TemplateBuilder();
  for (const mode of MODES) {
    const { header, cases } = decodeVectors(readFileSync(join(VECTORS, `${mode}.bin.zst`)));
    const counts = new Map<string, number>();
    for (let i = 0; i < header.count; i++) {
      const name = header.forms[cases.at(i).tag]!;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const { forms, excluded } = enumerateForms(header.mode);
    for (const one of excluded) left.set(one.name, one);
    for (const form of forms) {
      let line = lines.get(form.name);
      if (line === undefined) {
        const [template] = builder.build(form, new SplitMix64(1n), 1);
        const undefinedFlags = [
          ...names(template!.undefinedRflags, RFLAGS),
          ...names(template!.undefinedFsw, CONDITION_CODES),
        ].join(' ');
        const feature = form.features.join(' ');
        line = { name: form.name, feature, undefinedFlags, mnemonic: form.mnemonic.toUpperCase(), cases: new Map() };
        lines.set(form.name, line);
      }
      line.cases.set(mode, `${casesOf(campaign[mode], form.name)} + ${counts.get(form.name) ?? 0}`);
    }
  }
  builder.free();
  const sorted = [...lines.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const reasons = [...left.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { lines: sorted, excluded: Map.groupBy(reasons, (x) => x.reason) };
}

/** The page as forms, campaign and vectors are now. */
export function currentPage(): string {
  const campaign = JSON.parse(readFileSync(CAMPAIGN, 'utf8')) as Campaign;
  const { lines, excluded } = collect(campaign);
  const values = definedValues();
  const rows = lines.map(({ name, feature, undefinedFlags, mnemonic, cases }) => {
    const counts = MODES.map((mode) => cases.get(mode) ?? '-');
    // of the x87 only condition codes are undefined: they stay as they are
    const known = undefinedFlags.includes('C0') ? 'unchanged' : values.get(mnemonic === 'SAL' ? 'SHL' : mnemonic);
    assert(undefinedFlags === '' || known, `${name}: flags.ts says nothing of ${undefinedFlags}`);
    const notes = [undefinedFlags === '' ? undefined : known, OPEN.get(mnemonic)].filter((x) => x !== undefined);
    return `| ${[name, feature, ...counts, undefinedFlags, notes.join('; ')].join(' | ')} |`;
  });
  const campaigns = MODES.map((mode) => {
    const ran = campaign[mode];
    if (ran === undefined) return `* ${mode}: no campaign yet`;
    const told = [ran, ...(ran.later ?? [])].map(
      ({ cases, cpus, differing, silicon, seed }) =>
        `${cases} cases on ${cpus.join(', ')}; ${differing} differ (${silicon}, seed ${seed})`,
    );
    return `* ${mode}: ${told.join('; of later forms ')}`;
  });
  return `# Instructions

Written by \`node tools/run.mjs instructions\`; \`test/tools/instructions.test.ts\` fails when it is out of date. iced-x86
enumerates and names the forms, so that none depends on somebody remembering it; register and memory operands count apart.
"64 + 8" in a mode's column: 64 random cases in the last campaign against a CPU (\`node tools/run.mjs silicon --report
docs/silicon.json\`), 8 cases pinned from one (\`test/vectors/silicon\`), which the evaluator and the cold tier run on every
host; "-": the mode does not have the form. \`test/engine/hot-forms.test.ts\` has every form with a program in the hot tier.
Undefined flags are the manual's (of shifts: for some counts only) and not compared; the last column says what Hindsight
defines, as measured on AMD family 1Ah, and what else the manual leaves open.

The last campaign in each mode:

${campaigns.join('\n')}

| form | features | ${MODES.join(' | ')} | undefined | defined as |
| --- | --- | ${MODES.map(() => '---').join(' | ')} | --- | --- |
${rows.join('\n')}

## Vendors

Policies without a suffix are AMD's, those with \`-intel\` Intel's; CPUID says so, and the CPU does what its vendor's do:

| what | AMD | Intel | test |
| --- | --- | --- | --- |
${VENDOR_DIFFERENCES.filter((x) => x.ours === null)
  .map(({ what, amd, intel, test }) => `| ${[what, amd, intel, test].join(' | ')} |`)
  .join('\n')}

The same under every policy:

| what | AMD | Intel | Hindsight | test |
| --- | --- | --- | --- | --- |
${VENDOR_DIFFERENCES.filter((x) => x.ours !== null)
  .map(({ what, amd, intel, ours, test }) => `| ${[what, amd, intel, ours, test].join(' | ')} |`)
  .join('\n')}

## Left out

${[...excluded].map(([reason, list]) => `* ${reason}: ${list.map((x) => x.name).join(', ')}`).join('\n')}

Encodings passed over: ${PASSED_OVER.join('; ')}.
`;
}

if (import.meta.main) {
  commandLine({});
  writeFileSync(PAGE, currentPage());
}
