/** What the documents say of the command line, the import order and each other; that their links lead somewhere is checked by tools/check. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
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

describe.each(DOCUMENTS)('%s', (path) => {
  const text = read(path);
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
