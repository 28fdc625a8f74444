/** Functions of more lines than fit a reader's head. */
import { type ESTree, Visitor } from 'rolldown/utils';
import { unexpected } from './exceptions.ts';
import { lineAt, type Module, type Modules } from './tree.ts';

/** Lines of a function, from its first to its closing one. */
const MOST_LINES = 70;

/** Functions that are longer, by path and name, and why they are. */
const KNOWN: Readonly<Record<string, string>> = {
  'src/x86/decode/decode.ts: decode':
    'each part writes what later ones read: as local variables it takes 0.10 us an instruction, as fields of an object 0.13',
};

/** One finding a line: functions of all modules but those of tests, where a suite is one function. */
export function longFunctions(modules: Modules, known = KNOWN): string[] {
  const found = new Map<string, string>();
  for (const module of modules.values()) {
    if (module.path.startsWith('test/')) continue;
    for (const { name, lines } of functionsOf(module))
      if (lines > MOST_LINES) {
        const about = `${module.path}: ${name}`;
        found.set(about, `${about} has ${lines} lines, more than ${MOST_LINES}`);
      }
  }
  return unexpected(found, Object.keys(known), 'tools/check/function-length.ts');
}

/** The functions of a module; one without a name has that of what it is a part of. */
function functionsOf({ text, program }: Module): { name: string; lines: number }[] {
  const functions: { name: string; lines: number }[] = [];
  const names = new Map<ESTree.Node, string>();
  const nameOf = (value: ESTree.Node | null, key: ESTree.Node): void => {
    if (value !== null) names.set(value, text.slice(key.start, key.end));
  };
  const note = (node: ESTree.Function | ESTree.ArrowFunctionExpression): void => {
    const name = node.id?.name ?? names.get(node) ?? `the one in line ${lineAt(text, node.start)}`;
    const lines = text.slice(node.start, node.end).split('\n').length;
    functions.push({ name, lines });
  };
  new Visitor({
    VariableDeclarator: (node) => nameOf(node.init, node.id),
    Property: (node) => nameOf(node.value, node.key),
    PropertyDefinition: (node) => nameOf(node.value, node.key),
    MethodDefinition: (node) => nameOf(node.value, node.key),
    FunctionDeclaration: note,
    FunctionExpression: note,
    ArrowFunctionExpression: note,
  }).visit(program);
  return functions;
}
