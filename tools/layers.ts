/**
 * Checks the import direction of the tree: a layer imports only from layers above it in the list of ARCHITECTURE.md.
 * Exits 1 on a violation and when it saw no module.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { commandLine } from './command-line.ts';

const ROOT = resolve(import.meta.dirname, '..');
const ORDER = [
  'core',
  'ir',
  'x86',
  'memory',
  'engine',
  'devices',
  'elf',
  'xen',
  'platform',
  'machine',
  'timeline',
  'inspect',
  'cli',
];
/** Layers that may not import a layer although it stands above them. */
const NEVER: Record<string, string[]> = {
  x86: [],
  memory: ['ir'],
  engine: [],
  devices: ['engine', 'x86', 'ir'],
  elf: ['ir', 'x86', 'memory', 'engine', 'devices'],
  xen: ['engine', 'ir'],
  platform: ['engine', 'xen', 'ir'],
  store: ['ir', 'x86', 'memory', 'engine', 'elf', 'xen', 'platform', 'devices', 'machine', 'inspect', 'cli'],
};

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

const layerOf = (path: string): string => {
  const parts = relative(ROOT, path).split('/');
  return parts[0] === 'src' ? parts[1]! : parts[0]!;
};
const rank = (layer: string): number => (layer === 'store' ? ORDER.indexOf('inspect') : ORDER.indexOf(layer));

commandLine({});
let modules = 0;
const wrong: string[] = [];
for (const folder of ['src', 'store']) {
  if (!existsSync(join(ROOT, folder))) continue;
  for (const file of sources(join(ROOT, folder))) {
    modules++;
    const from = layerOf(file);
    const text = readFileSync(file, 'utf8');
    for (const match of text.matchAll(/(?:from|import\()\s*'([^']+)'/g)) {
      const target = match[1]!;
      if (target.endsWith('.json')) continue;
      if (!target.startsWith('.')) {
        if (target.startsWith('node:') && !['cli', 'store'].includes(from))
          wrong.push(`${relative(ROOT, file)}: ${target} (Node API outside cli and store)`);
        continue;
      }
      const to = layerOf(resolve(dirname(file), target));
      if (to === from) continue;
      if (rank(to) < 0 || rank(to) > rank(from) || NEVER[from]?.includes(to))
        wrong.push(`${relative(ROOT, file)}: ${from} must not import ${to}`);
    }
  }
}
for (const line of wrong) console.error(line);
if (modules === 0) console.error('layers: saw no module');
console.log(`layers: ${modules} modules, ${wrong.length} violations`);
process.exit(wrong.length > 0 || modules === 0 ? 1 : 0);
