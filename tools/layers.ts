/**
 * Checks the import direction of the tree, `node tools/run.mjs layers`: a layer imports only from layers before it in the list of
 * ARCHITECTURE.md, and does not reach through what it was given into what lies behind. It is part of `npm run check`.
 */
import { resolve } from 'node:path';
import { type ESTree, Visitor } from 'rolldown/utils';
import { unexpected } from './check/exceptions.ts';
import { type Module, type Modules, readModules } from './check/tree.ts';
import { commandLine } from './command-line.ts';

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
/** Layers that may not import a layer although it stands before them. */
const NEVER: Record<string, string[]> = {
  memory: ['ir'],
  devices: ['engine', 'x86', 'ir'],
  elf: ['ir', 'x86', 'memory', 'engine', 'devices'],
  xen: ['engine', 'ir'],
  platform: ['engine', 'xen', 'ir'],
  timeline: ['xen'],
  inspect: ['xen'],
  cli: ['xen'],
  store: ['ir', 'x86', 'memory', 'engine', 'devices', 'elf', 'xen', 'platform', 'machine', 'inspect', 'cli'],
};

/** Layers above the machine, which see hypervisor and engine through it alone. */
const ABOVE_MACHINE = ['timeline', 'inspect', 'cli', 'store'];
/** Members that no layer above the machine may name, however it comes by what has them: the machine should be asked instead. */
const FORBIDDEN_MEMBERS: readonly string[] = ['xen', 'mmu'];
/** What plugs into the machine's sockets; the layers above see the sockets. */
const PLUG = /^src\/machine\/[^/]+\//;

const layerOf = (path: string): string => {
  const [top = '', next = ''] = path.split('/');
  return top === 'src' ? next : top;
};
const rank = (layer: string): number => ORDER.indexOf(layer === 'store' ? 'inspect' : layer);

/** One finding a line, for the modules of src and store. */
export function layerFaults(modules: Modules, known: readonly string[] = []): string[] {
  const sources = [...modules.values()].filter(({ path }) => /^(src|store)\//.test(path));
  if (sources.length === 0) return ['layers: saw no module of src or store'];
  const faults = new Map<string, string>();
  for (const module of sources)
    for (const fault of [...wrongImports(module), ...wrongMembers(module)]) {
      const about = `${module.path}: ${fault}`;
      faults.set(about, about);
    }
  return unexpected(faults, known, 'tools/layers.ts');
}

function wrongImports({ path, imports }: Module): string[] {
  const from = layerOf(path);
  return imports.flatMap(({ from: target }) => {
    if (target.startsWith('node:'))
      return from === 'cli' || from === 'store' ? [] : [`${target} (Node API outside cli and store)`];
    if (!/^(src|store|test|tools)\//.test(target)) return [];
    if (ABOVE_MACHINE.includes(from) && PLUG.test(target))
      return [`${from} must not import ${target}: it sees the sockets`];
    const to = layerOf(target);
    if (to === from || (rank(to) >= 0 && rank(to) <= rank(from) && !NEVER[from]?.includes(to))) return [];
    return [`${from} must not import ${to}`];
  });
}

function wrongMembers({ path, program }: Module): string[] {
  const from = layerOf(path);
  if (!ABOVE_MACHINE.includes(from)) return [];
  const found = new Set<string>();
  const judge = (name: string | null): void => {
    if (name !== null && FORBIDDEN_MEMBERS.includes(name)) found.add(`${from} must not reach for ${name}`);
  };
  new Visitor({
    MemberExpression: ({ property }) => judge(nameOf(property)),
    ObjectPattern: ({ properties }) => {
      for (const property of properties) if (property.type === 'Property') judge(nameOf(property.key));
    },
  }).visit(program);
  return [...found];
}

/** The name that a key or a member's property is, written as a word or as a text. */
function nameOf(node: ESTree.Node): string | null {
  if (node.type === 'Identifier' || node.type === 'PrivateIdentifier') return node.name;
  return node.type === 'Literal' && typeof node.value === 'string' ? node.value : null;
}

if (import.meta.main) {
  commandLine({});
  const modules = readModules(resolve(import.meta.dirname, '..'));
  const faults = layerFaults(modules);
  for (const fault of faults) console.error(fault);
  console.log(`layers: ${modules.size} modules, ${faults.length} violations`);
  if (faults.length > 0) process.exitCode = 1;
}
