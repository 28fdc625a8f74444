/**
 * Exports that nobody needs: what no module imports, and what only tests import although its own module has no use for it, which is
 * dead code with a test. Tests may use whatever tools export. A type that its own module uses need not be imported: it names what
 * other exports give or take.
 */
import { unexpected } from './exceptions.ts';
import type { Module, Modules } from './tree.ts';

/** Exports that stay, by path and name, and why. */
const KNOWN: Readonly<Record<string, string>> = {
  'src/xen/abi/structures.ts: I386': 'structures are declared once for both word sizes; 32-bit guests are to come',
  'test/native/cpu.ts: createCpus': 'imported by a path that test/native/cpus.ts puts together',
};

/** One finding a line; the modules of the top folder are configurations, which others read. */
export function unusedExports(modules: Modules, known = KNOWN): string[] {
  const users = new Map<string, string[]>();
  for (const { path, imports } of modules.values())
    for (const { from, names } of imports)
      for (const name of names) {
        const about = `${from}: ${name}`;
        users.set(about, [...(users.get(about) ?? []), path]);
      }
  const found = new Map<string, string>();
  for (const module of modules.values())
    for (const { name, isType } of module.path.includes('/') ? module.exports : []) {
      const about = `${module.path}: ${name}`;
      const by = [...(users.get(about) ?? []), ...(users.get(`${module.path}: *`) ?? [])];
      if (by.some((path) => !isTest(path) || !/^(src|store)\//.test(module.path))) continue;
      const isUsedInside = saysAgain(module, name);
      if (isUsedInside && (isType || by.length > 0)) continue;
      if (by.length > 0) found.set(about, `${about} is used by tests alone: it is dead code`);
      else found.set(about, `${about} is ${isUsedInside ? 'exported, and nobody imports it' : 'used by nobody'}`);
    }
  return unexpected(found, Object.keys(known), 'tools/check/unused-exports.ts');
}

const isTest = (path: string): boolean => path.startsWith('test/');

/** Whether a module says a name of its own more than once outside of comments; members called so do not count. */
function saysAgain({ text }: Module, name: string): boolean {
  const code = text.replace(/\/\*.*?\*\/|\/\/.*?$/gms, '');
  return [...code.matchAll(new RegExp(`(?<!\\w|(?<!\\.\\.)\\.)${name}\\b`, 'g'))].length > 1;
}
