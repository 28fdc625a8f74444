/** Each check finds what was planted for it in a tree that has nothing else to find. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { documentFaults } from '../../tools/check/documents.ts';
import { longFunctions } from '../../tools/check/function-length.ts';
import { readModules } from '../../tools/check/tree.ts';
import { unusedExports } from '../../tools/check/unused-exports.ts';
import { findings } from '../../tools/check.ts';
import { layerFaults } from '../../tools/layers.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const planted: string[] = [];
afterEach(() => {
  for (const root of planted.splice(0)) rmSync(root, { recursive: true });
});

/** A checkout of the given files. */
function plant(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'hindsight-check-'));
  planted.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}
const modulesOf = (files: Readonly<Record<string, string>>) => readModules(plant(files));

test('this tree has nothing to find', () => {
  expect(findings(ROOT)).toEqual([]);
});

test('what is no TypeScript is named', () => {
  expect(() => modulesOf({ 'src/core/a.ts': 'export const = 1;' })).toThrow(/^src\/core\/a\.ts: /);
});

describe('unused exports', () => {
  const unused = (files: Record<string, string>, known: Record<string, string> = {}): string[] =>
    unusedExports(modulesOf(files), known);

  test('are those that no module imports', () => {
    const a = 'export const used = 1;\nexport const inside = 2;\nexport const spare = inside; // inside, spare';
    expect(unused({ 'src/core/a.ts': a, 'store/b.ts': "import { used } from '../src/core/a.ts';" })).toEqual([
      'src/core/a.ts: inside is exported, and nobody imports it',
      'src/core/a.ts: spare is used by nobody',
    ]);
    const members = 'export const inside = [1];\nexport const spare = [...inside];\nconsole.log(inside.spare);';
    expect(unused({ 'src/core/a.ts': members })).toEqual([
      'src/core/a.ts: inside is exported, and nobody imports it',
      'src/core/a.ts: spare is used by nobody',
    ]);
  });

  test('are not those that are taken as members of a namespace, late, or passed on', () => {
    const a = 'export const one = 1;\nexport const two = 2;\nexport const three = 3;\nexport default 4;';
    const users = {
      'store/b.ts': "import * as a from '../src/core/a.ts';\nconst x = a.one;",
      'store/c.ts': "const { two: zwei } = await import('../src/core/a.ts');",
      'store/d.ts': "export { three } from '../src/core/a.ts';",
    };
    expect(unused({ 'src/core/a.ts': a, ...users })).toEqual([
      'src/core/a.ts: default is used by nobody',
      'store/d.ts: three is used by nobody',
    ]);
    const whole = { 'store/b.ts': "import * as a from '../src/core/a.ts';\nconsole.log(a);" };
    expect(unused({ 'src/core/a.ts': a, ...whole })).toEqual([]);
  });

  test('are types that nothing is made of', () => {
    const a = 'export interface Part {\n  x: number;\n}\nexport const whole: Part = { x: 1 };\nexport type Spare = 1;';
    expect(unused({ 'src/core/a.ts': a, 'store/b.ts': "import { whole } from '../src/core/a.ts';" })).toEqual([
      'src/core/a.ts: Spare is used by nobody',
    ]);
  });

  test('are those for tests alone, unless their own module or a tool has them', () => {
    const test = "import { dead, alive, tool } from '../src/core/a.ts';\nimport { help } from '../tools/t.ts';";
    const files = {
      'src/core/a.ts': 'export const dead = 1;\nexport const alive = 2;\nconsole.log(alive);\nexport const tool = 3;',
      'tools/t.ts': "import { tool } from '../src/core/a.ts';\nexport const help = 1;",
      'test/a.test.ts': test,
    };
    expect(unused(files)).toEqual(['src/core/a.ts: dead is used by tests alone: it is dead code']);
    expect(unused(files, { 'src/core/a.ts: dead': 'why not' })).toEqual([]);
    expect(unused(files, { 'src/core/a.ts: dead': 'why not', 'src/core/a.ts: alive': 'stale' })).toEqual([
      'src/core/a.ts: alive: no exception any more (tools/check/unused-exports.ts)',
    ]);
  });
});

describe('long functions', () => {
  const body = (lines: number): string => `{\n${'  step();\n'.repeat(lines - 2)}}`;

  test('are told by name from 71 lines on', () => {
    const source = [
      `function f() ${body(71)}`,
      `const g = () => ${body(71)};`,
      `class C {\n  #m() ${body(71)}\n  p = () => ${body(71)};\n}`,
      `const o = { k: () => ${body(71)}, ok() ${body(70)} };`,
      `call(() => ${body(71)});`,
    ].join('\n');
    expect(longFunctions(modulesOf({ 'src/core/a.ts': source }), {})).toEqual([
      ...['f', 'g', '#m', 'p', 'k'].map((name) => `src/core/a.ts: ${name} has 71 lines, more than 70`),
      'src/core/a.ts: the one in line 427 has 71 lines, more than 70',
    ]);
    expect(longFunctions(modulesOf({ 'test/a.test.ts': source }), {})).toEqual([]);
  });

  test('an exception that is none any more is told', () => {
    const short = modulesOf({ 'src/core/a.ts': `function f() ${body(70)}` });
    expect(longFunctions(short, { 'src/core/a.ts: f': 'a reason' })).toEqual([
      'src/core/a.ts: f: no exception any more (tools/check/function-length.ts)',
    ]);
  });
});

describe('layers', () => {
  const faults = (path: string, text: string, known: string[] = []): string[] =>
    layerFaults(modulesOf({ [path]: text }), known);

  test('a wrong import is found, however it is written', () => {
    expect(faults('src/core/a.ts', "import { x } from '../xen/pv.ts';")).toEqual([
      'src/core/a.ts: core must not import xen',
    ]);
    for (const text of [
      "import type { Xen } from '../xen/pv.ts';",
      "export { x } from '../xen/pv.ts';",
      "const { x } = await import('../xen/pv.ts');",
      "import '../xen/pv.ts';",
      'const x = await import(`../xen/pv.ts`);',
      "let x: import('../xen/pv.ts').Pv;",
    ])
      for (const layer of ['timeline', 'inspect', 'cli', 'platform'])
        expect(faults(`src/${layer}/a.ts`, text)).toEqual([`src/${layer}/a.ts: ${layer} must not import xen`]);
    expect(faults('src/xen/a.ts', "import { d } from '../devices/d.ts';\nimport { e } from '../elf/e.ts';")).toEqual(
      [],
    );
    expect(faults('src/machine/a.ts', "import { x } from '../xen/pv.ts';")).toEqual([]);
    expect(faults('store/a.ts', "import { m } from '../src/machine/m.ts';")).toHaveLength(1);
    expect(faults('src/core/a.ts', "import { t } from '../../tools/t.ts';")).toHaveLength(1);
  });

  test("Node's API is for cli and store", () => {
    expect(faults('src/core/a.ts', "import { join } from 'node:path';")).toEqual([
      'src/core/a.ts: node:path (Node API outside cli and store)',
    ]);
    expect(faults('store/a.ts', "import { join } from 'node:path';")).toEqual([]);
  });

  test.each([
    ['xen', 'this.#session.run.xen.mm.domain;'],
    ['xen', 'run.xen!.events?.isPending(port);'],
    ['xen', 'f().xen[0];'],
    ['xen', '(run.xen as Pv).mm;'],
    ['xen', 'const { mm } = run.xen;'],
    ['xen', "machine['xen'].domain;"],
    ['xen', 'each(({ xen: { domain } }) => domain);'],
    ['xen', 'const { platform: { xen } } = machine;'],
    ['mmu', 'machine.engine.mmu.watchHit = true;'],
    ['mmu', 'const { mmu } = machine.engine; mmu.watches;'],
    ['mmu', 'const mmu = machine.engine.mmu; mmu.watches;'],
    ['mmu', 'const { engine: { mmu: { watches } } } = machine;'],
  ])('a way through the machine to %s is found above it: %s', (name, text) => {
    for (const layer of ['timeline', 'inspect', 'cli'])
      expect(faults(`src/${layer}/a.ts`, text)).toEqual([`src/${layer}/a.ts: ${layer} must not reach for ${name}`]);
    expect(faults('src/machine/a.ts', text)).toEqual([]);
  });
  test('what is only called alike is not', () => {
    expect(faults('src/inspect/a.ts', 'machine.engine.memory.read8(0);\nconst xen = 1;\nmyxen.x;')).toEqual([]);
  });
  test('what plugs into the machine is not imported above it', () => {
    for (const layer of ['timeline', 'inspect', 'cli'])
      expect(faults(`src/${layer}/a.ts`, "import { x } from '../machine/xen-pv/xen-of.ts';")).toEqual([
        `src/${layer}/a.ts: ${layer} must not import src/machine/xen-pv/xen-of.ts: it sees the sockets`,
      ]);
    expect(faults('src/cli/a.ts', "import { x } from '../machine/platforms.ts';")).toEqual([]);
  });

  test('a known offender passes until it offends no more', () => {
    const known = ['src/inspect/a.ts: inspect must not reach for xen'];
    expect(faults('src/inspect/a.ts', 'run.xen.mm;', known)).toEqual([]);
    expect(faults('src/inspect/a.ts', 'run.mm;', known)).toEqual([
      `${known[0]}: no exception any more (tools/layers.ts)`,
    ]);
  });

  test('a tree without modules does not pass', () => {
    expect(layerFaults(modulesOf({ 'README.md': '' }), [])).toEqual(['layers: saw no module of src or store']);
  });
});

describe('documents', () => {
  const faults = (files: Record<string, string>): string[] => {
    const root = plant(files);
    return documentFaults(root, readModules(root), {});
  };

  test.each([
    ['a file', '[x](docs/none.md)', 'docs/none.md'],
    ['an anchor of this one', '# There\n[x](#here)', '#here'],
    ['an anchor of another', '[x](docs/b.md#here)', 'docs/b.md#here'],
    ['a path', 'see src/core/none.ts', 'src/core/none.ts'],
    ['a folder', 'see test/none', 'test/none'],
    ['the end of a path', 'see `core/none.ts`', 'core/none.ts'],
    ['a script', 'call `npm run none`', 'none'],
    ['a tool', 'call node tools/run.mjs check/none', 'check/none'],
  ])('%s that is not there', (_, text, name) => {
    const files = {
      'docs/b.md': '# There',
      'package.json': '{"scripts":{}}',
      'tools/run.mjs': '',
      'README.md': text,
    };
    expect(faults(files)).toEqual([`README.md: ${name} is not there`]);
  });

  test('what is there', () => {
    const text = [
      '# Two `words`',
      '[a](#two-words) [b](docs/b.md#over-there) [c](https://example.org/none.md) docs/b.md src/core `a.ts` `core/a.ts`',
      'npm run there, node tools/run.mjs t, node tools/run.mjs NAME',
    ].join('\n');
    const files = {
      'README.md': text,
      'docs/b.md': '## Over there\n[up](../README.md)',
      'src/core/a.ts': '',
      'tools/t.ts': '',
      'tools/run.mjs': '',
      'package.json': '{"scripts":{"there":""}}',
    };
    expect(faults(files)).toEqual([]);
    expect(faults({})).toEqual(['documents: saw none']);
  });

  test('a figure that is not the constant of its name', () => {
    const constants = 'export const EVERY_TICKS = 2 ** 24;\nconst MOST_PAGES = 4_096;\nconst SPARE = 1 << 3;';
    const text =
      '`EVERY_TICKS` (2^24), `EVERY_TICKS`\n(2^22), `MOST_PAGES` (4,096), `SPARE` (8 of them), `NONE` (1), `EVERY_TICKS`';
    expect(faults({ 'README.md': text, 'src/core/a.ts': constants })).toEqual([
      'README.md: no constant EVERY_TICKS is 2^22',
      'README.md: no constant NONE is 1',
    ]);
  });

  test('a tool is called in the Node of the system', () => {
    const files = { 'README.md': 'node tools/t.ts', 'tools/t.ts': '' };
    expect(faults(files)).toEqual(['README.md: node tools/t.ts needs Node 24; it is node tools/run.mjs NAME']);
  });
});

test('biome finds a circle of imports, and none of types', () => {
  const lint = (b: string): { status: number | null; text: string } => {
    const root = plant({
      'a.ts': "import { b } from './b.ts';\n\nexport const a = (): number => b;\n",
      'b.ts': b,
    });
    cpSync(join(ROOT, 'biome.json'), join(root, 'biome.json'));
    const biome = join(ROOT, 'node_modules/.bin/biome');
    const { status, stdout, stderr } = spawnSync(biome, ['lint', '--vcs-enabled=false', '.'], {
      cwd: root,
      encoding: 'utf8',
    });
    return { status, text: stdout + stderr };
  };
  const { status, text } = lint("import { a } from './a.ts';\n\nexport const b = 1;\nconsole.log(a);\n");
  expect([status, text]).toEqual([1, expect.stringContaining('noImportCycles')]);
  const types = lint("import type { a } from './a.ts';\n\nexport const b = 1;\nexport type A = typeof a;\n");
  expect([types.status, types.text]).toEqual([0, expect.anything()]);
});

test('npm run check runs all of them', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(scripts.check).toContain('npm run --silent tree');
  expect(scripts.tree).toBe('node tools/check.ts');
  expect(scripts.lint).toContain('biome check');
});
