/**
 * What documents name exists: files and headings that links lead to, paths of the tree, files by the end of their path, scripts of
 * package.json, and tools, which are called by the launcher that any Node runs. A figure that stands behind the name of a constant is
 * the constant's: `DIGEST_TICKS` (2^24).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { unexpected } from './exceptions.ts';
import type { Modules } from './tree.ts';

/** Names that are no files of ours, by document and name. */
const KNOWN: Readonly<Record<string, string>> = {
  'CONTRIBUTING.md: nmi-op.ts': 'the file that the recipe makes',
  'docs/decisions/0010-decompression.md: scripts/xz_wrap.sh': "a file of Linux's",
};

const FOLDERS = ['docs', 'proto', 'src', 'store', 'test', 'tools'];

/** One finding a line, for the Markdown files in the folder `root` and below its `docs`. */
export function documentFaults(root: string, modules: Modules, known = KNOWN): string[] {
  const below = (folder: string): string[] =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name))
      : [];
  const files = [...readdirSync(root), ...FOLDERS.flatMap(below)];
  const documents = files.filter((path) => /^(docs\/.*|[^/]*)\.md$/.test(path));
  if (documents.length === 0) return ['documents: saw none'];
  const constants = constantsOf(modules);
  const found = new Map<string, string>();
  for (const path of documents) {
    const text = readFileSync(join(root, path), 'utf8');
    const missing = [
      ...linksOf(text).filter((link) => !leadsSomewhere(root, path, link)),
      ...pathsOf(text).filter((name) => !existsSync(join(root, name))),
      ...fileNamesOf(text).filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`))),
      ...scriptsOf(text).filter((name) => !hasScript(root, name)),
      ...toolsOf(text).filter((name) => !existsSync(join(root, `tools/${name}.ts`))),
    ];
    for (const name of missing) found.set(`${path}: ${name}`, `${path}: ${name} is not there`);
    for (const [, name = '', figure = ''] of text.matchAll(/`([A-Z][A-Z\d_]+)`\s\((\d\^?[\d,]*)/g))
      if (!constants.get(name)?.includes(figureOf(figure)))
        found.set(`${path}: ${name}`, `${path}: no constant ${name} is ${figure}`);
    for (const name of matches(text, /\bnode (tools\/[\w/-]+\.ts)/g))
      found.set(`${path}: node ${name}`, `${path}: node ${name} needs Node 24; it is node tools/run.mjs NAME`);
  }
  return unexpected(found, Object.keys(known), 'tools/check/documents.ts');
}

const matches = (text: string, pattern: RegExp): string[] => [
  ...new Set([...text.matchAll(pattern)].map((match) => match[1]!)),
];
const linksOf = (text: string): string[] => matches(text, /\]\(([^)\s]+)\)/g).filter((link) => !/^[a-z]+:/.test(link));
const pathsOf = (text: string): string[] =>
  matches(text, /(?<![\w./-])((?:src|store|proto|test|tools|docs)\/[\w./-]*\w)(?![\w/*-])/g);
const fileNamesOf = (text: string): string[] => matches(text, /`([\w./-]*\w\.(?:ts|mjs|sh|json|md|proto))`/g);
const scriptsOf = (text: string): string[] => [
  ...matches(text, /\bnpm run ([\w-]+)/g),
  ...matches(text, /\bnpm (start|test)\b/g),
];
const toolsOf = (text: string): string[] =>
  matches(text, /\bnode tools\/run\.mjs ([\w/-]+)/g).filter((name) => name !== 'NAME');

/** Values of the constants that are written as a number or a power of two, by name. */
function constantsOf(modules: Modules): ReadonlyMap<string, number[]> {
  const constants = new Map<string, number[]>();
  for (const { text } of modules.values())
    for (const [, name = '', number = ''] of text.matchAll(
      /^(?:export )?const ([A-Z][A-Z\d_]+) = ([\d_]+|2 \*\* \d+|1 << \d+);/gm,
    ))
      constants.set(name, [...(constants.get(name) ?? []), figureOf(number)]);
  return constants;
}
/** A number as code or as a person writes it: `4_096`, `4,096`, `1 << 12`, `2 ** 12`, `2^12`. */
function figureOf(number: string): number {
  const power = /^[12] ?(?:\^|\*\*|<<) ?(\d+)$/.exec(number);
  return power === null ? Number(number.replace(/[_,]/g, '')) : 2 ** Number(power[1]);
}

function leadsSomewhere(root: string, path: string, link: string): boolean {
  const [file = '', anchor] = link.split('#');
  const target = join(root, file === '' ? path : join(dirname(path), file));
  return existsSync(target) && (anchor === undefined || anchorsOf(readFileSync(target, 'utf8')).includes(anchor));
}

/** Anchors of a document's headings, as GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  matches(text, /^#+ (.+)$/gm).map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

function hasScript(root: string, name: string): boolean {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  return Object.hasOwn(scripts, name);
}
