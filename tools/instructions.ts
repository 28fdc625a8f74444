/**
 * Writes docs/instructions.md, the table of instruction forms and how each is tested: `node tools/instructions.ts`. Forms and
 * undefined flags are iced-x86's, cases those of the pinned vectors, values of undefined flags what
 * src/x86/semantics/flags.ts says of them.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Excluded, enumerateForms, PASSED_OVER } from '../test/native/enumerate.ts';
import { SplitMix64 } from '../test/native/random.ts';
import { TemplateBuilder } from '../test/native/templates.ts';
import { decodeVectors } from '../test/native/vectors.ts';

const ROOT = resolve(import.meta.dirname, '..');
export const PAGE = join(ROOT, 'docs/instructions.md');
const VECTORS = join(ROOT, 'test/vectors/silicon');
const FLAGS = join(ROOT, 'src/x86/semantics/flags.ts');

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
  /** Pinned cases by file. */
  readonly cases: Map<string, number>;
}

/** Every form of every mode with pinned cases, by name; and what is left out, by reason. */
function collect(files: readonly string[]): { lines: Line[]; excluded: Map<string, Excluded[]> } {
  const lines = new Map<string, Line>();
  const left = new Map<string, Excluded>();
  const builder = new TemplateBuilder();
  for (const file of files) {
    const { header, cases } = decodeVectors(readFileSync(join(VECTORS, `${file}.bin.zst`)));
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
      line.cases.set(file, counts.get(form.name) ?? 0);
    }
  }
  builder.free();
  const sorted = [...lines.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const reasons = [...left.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { lines: sorted, excluded: Map.groupBy(reasons, (x) => x.reason) };
}

/** The page as forms and vectors are now. */
export function currentPage(): string {
  const files = readdirSync(VECTORS)
    .map((name) => name.replace('.bin.zst', ''))
    .toSorted();
  const { lines, excluded } = collect(files);
  const values = definedValues();
  const rows = lines.map(({ name, feature, undefinedFlags, mnemonic, cases }) => {
    const counts = files.map((file) => cases.get(file) ?? '-');
    // of the x87 only condition codes are undefined: they stay as they are
    const known = undefinedFlags.includes('C0') ? 'unchanged' : values.get(mnemonic === 'SAL' ? 'SHL' : mnemonic);
    assert(undefinedFlags === '' || known, `${name}: flags.ts says nothing of ${undefinedFlags}`);
    const value = undefinedFlags === '' ? '' : known;
    return `| ${[name, feature, ...counts, undefinedFlags, value].join(' | ')} |`;
  });
  return `# Instructions

Written by \`node tools/instructions.ts\`; \`test/tools/instructions.test.ts\` fails when it is out of date. iced-x86
enumerates and names the forms, so that none depends on somebody remembering it. The numbers are cases pinned from a CPU
(\`test/vectors/silicon\`), which the evaluator and the cold tier run on every host; "-": the mode does not have the form.
\`node tools/silicon.ts\` runs any number of fresh ones against the host's own CPU, \`test/engine/hot-forms.test.ts\` has
every form with a program in the hot tier. Undefined flags are the manual's (of shifts: for some counts only); the last
column says what Hindsight defines, as measured on AMD family 1Ah.

| form | features | ${files.join(' | ')} | undefined | defined as |
| --- | --- | ${files.map(() => '---').join(' | ')} | --- | --- |
${rows.join('\n')}

## Left out

${[...excluded].map(([reason, list]) => `* ${reason}: ${list.map((x) => x.name).join(', ')}`).join('\n')}

Encodings passed over: ${PASSED_OVER.join('; ')}.
`;
}

if (import.meta.main) writeFileSync(PAGE, currentPage());
