/** The failing kernels of tools/guest-kernels/why: their answers, and their images in three variants. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const GUESTS = resolve(import.meta.dirname, '../guest-kernels');
const SOURCES = join(GUESTS, 'why');

/** What is right of a kernel: its README says what each field means. */
export interface Answer {
  readonly verdict: string;
  readonly decides: readonly string[] | null;
  readonly store: readonly string[] | null;
  readonly source: readonly string[] | null;
  readonly undo: boolean;
  readonly loopWriter?: readonly string[];
  readonly waits?: string;
  readonly commandLine?: string;
  readonly initrd?: string;
  readonly type?: string;
}

/** All answers by kernel. */
export const answers = (): Readonly<Record<string, Answer>> =>
  JSON.parse(readFileSync(join(SOURCES, 'answers.json'), 'utf8')) as Record<string, Answer>;

/** What is done to the symbols of an image: kept, removed, or each function's name given to the next. */
export const VARIANTS = ['plain', 'stripped', 'renamed'] as const;
export type Variant = (typeof VARIANTS)[number];

/** A function of an image. */
export interface Range {
  readonly name: string;
  readonly start: bigint;
  readonly end: bigint;
}

/** Images of one kernel, at the same addresses, and the functions by their true names. */
export interface Images {
  readonly paths: Readonly<Record<Variant, string>>;
  readonly functions: readonly Range[];
}

const FLAGS = [
  ...[
    '-O1',
    '-g0',
    '-Wall',
    '-Wno-unused',
    '-Wno-dangling-pointer',
    '-ffreestanding',
    '-fno-pic',
    '-fno-pie',
    '-mcmodel=kernel',
  ],
  ...['-mgeneral-regs-only', '-mno-red-zone', '-fno-stack-protector', '-fcf-protection=none', '-fno-jump-tables'],
  ...['-fno-asynchronous-unwind-tables', '-fno-tree-loop-distribute-patterns', `-I${GUESTS}`],
];

/** Whether the host can build them. */
export const canBuild = (): boolean =>
  process.platform === 'linux' &&
  ['gcc', 'ld', 'objcopy', 'nm'].every((tool) => spawnSync(tool, ['--version']).status === 0);

/** Builds a kernel into a folder; throws what the compiler says. */
export function build(name: string, folder: string): Images {
  const run = (tool: string, words: readonly string[]): string => execFileSync(tool, words, { encoding: 'utf8' });
  const at = (ending: string): string => join(folder, `${name}${ending}`);
  run('gcc', [...FLAGS, '-c', '-o', at('.start.o'), join(SOURCES, 'prelude.S')]);
  run('gcc', [...FLAGS, '-c', '-o', at('.o'), join(SOURCES, `${name}.c`)]);
  const script = join(GUESTS, 'failing-boot/link.ld');
  const link = ['-nostdlib', '-static', '-z', 'max-page-size=4096', '--build-id=none', '-T', script];
  const paths = { plain: at('.elf'), stripped: at('.stripped.elf'), renamed: at('.renamed.elf') };
  run('ld', [...link, '-o', paths.plain, at('.start.o'), at('.o')]);
  const functions = functionsOf(run('nm', ['-S', paths.plain]));
  run('objcopy', ['--strip-all', paths.plain, paths.stripped]);
  const names = [...new Set(functions.map((f) => f.name))];
  const map = names.map((from, i) => `${from} ${names[(i + 1) % names.length]}_of_others`);
  writeFileSync(at('.names'), `${map.join('\n')}\n`);
  run('objcopy', [`--redefine-syms=${at('.names')}`, paths.plain, paths.renamed]);
  return { paths, functions };
}

/** The functions of nm's lines `ADDRESS SIZE t NAME`. */
function functionsOf(text: string): Range[] {
  return [...text.matchAll(/^([0-9a-f]{16}) ([0-9a-f]{16}) [tTwW] (\S+)$/gm)].map(([, start, size, name]) => ({
    name: name!,
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${start}`) + BigInt(`0x${size}`),
  }));
}
