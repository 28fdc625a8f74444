/** What the documents name exists: files, headings, verbs, npm scripts, the import order. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Bench } from './cli/fake-backend.ts';

const ROOT = resolve(import.meta.dirname, '..');
const DOCUMENTS = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const DECISIONS = 'docs/decisions';

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const found = (text: string, pattern: RegExp): string[] => [...new Set([...text.matchAll(pattern)].map((m) => m[1]!))];

/** Anchors of a document's headings, as GitHub makes them. */
const anchors = (text: string): string[] =>
  found(text, /^#+ (.+)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

describe.each(DOCUMENTS)('%s', (path) => {
  const text = read(path);
  test('links to files and headings that exist', () => {
    for (const link of found(text, /\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? path : relative(ROOT, resolve(ROOT, dirname(path), file));
      expect(existsSync(join(ROOT, target)), `${link} is there`).toBe(true);
      if (anchor !== undefined) expect(anchors(read(target)), link).toContain(anchor);
    }
  });
  test('names paths of the tree that exist', () => {
    const named = found(text, /(?<![\w./-])((?:src|store|proto|test|tools)\/[\w./-]*\w)(?![\w/*-])/g);
    for (const name of named) expect(existsSync(join(ROOT, name)), `${name} is there`).toBe(true);
  });
  test('names npm scripts that package.json has', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...found(text, /\bnpm run ([\w-]+)/g), ...found(text, /\bnpm (start|test)\b/g)];
    for (const name of named) expect(Object.keys(scripts)).toContain(name);
  });
  test('names tools that are there, by the launcher that any Node runs', () => {
    expect(found(text, /\bnode (tools\/[\w/-]+\.ts)/g)).toEqual([]);
    for (const name of found(text, /\bnode tools\/run\.mjs ([\w/-]+)/g))
      if (name !== 'NAME') expect(existsSync(join(ROOT, `tools/${name}.ts`)), `tools/${name}.ts is there`).toBe(true);
  });
  test('names verbs that the command line has', async () => {
    const bench = new Bench();
    for (const verb of found(text, /npx hindsight ([a-z]+)/g)) {
      const { status, out } = await bench.run([verb, '--help']);
      expect([status, out.split('\n')[0]], verb).toEqual([0, expect.stringContaining(`hindsight ${verb} `)]);
    }
    bench.remove();
  });
});

test('README has every verb and every option of record', async () => {
  const bench = new Bench();
  const { out } = await bench.run(['--help']);
  const verbs = found(out.split('Commands:')[1]!.split('Examples:')[0]!, /^ {2}([a-z]+) /gm);
  expect(verbs.length).toBeGreaterThan(10);
  const table = read('README.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => found(line.split('|')[1]!, /`([a-z]+)\b/g));
  for (const verb of verbs) expect(table).toContain(verb);
  const { out: help } = await bench.run(['record', '--help']);
  const options = found(help, /(--[a-z][a-z-]+)/g).filter((option) => option !== '--help');
  expect(options.length).toBeGreaterThan(10);
  const text = read('README.md');
  expect(options.filter((option) => !text.includes(option))).toEqual([]);
  bench.remove();
});

test('ARCHITECTURE has the import order that tools/layers.ts checks', () => {
  const order = /const ORDER = \[([^\]]*)\]/.exec(read('tools/layers.ts'))![1]!.match(/\w+/g)!;
  expect(order.length).toBeGreaterThan(8);
  expect(read('ARCHITECTURE.md')).toContain(`\`${order.join(' ')}\``);
});

test('decisions are numbered without gaps, by file name and by title, and listed', () => {
  const files = readdirSync(join(ROOT, DECISIONS))
    .filter((name) => name !== 'README.md')
    .sort();
  files.forEach((name, i) => {
    const number = String(i + 1).padStart(4, '0');
    expect(name).toMatch(new RegExp(`^${number}-[a-z0-9-]+\\.md$`));
    const title = read(join(DECISIONS, name)).split('\n')[0]!;
    expect(title).toMatch(new RegExp(`^# ${number}: .`));
    expect(read(join(DECISIONS, 'README.md'))).toContain(`| [${number}](${name}) | ${title.slice(8)} |`);
  });
});
