/** A readable listing of a program, for people and for tests of its size. */
import type { Commit, Node, Program, StateRef, Value } from './program.ts';

/** Names a state offset, for example `rax`. */
export type NameOffset = (offset: number) => string;

const numbered: NameOffset = (offset) => `+${offset}`;
const v = (id: Value['id']): string => `v${id}`;

function refText(ref: StateRef, width: number, nameOf: NameOffset): string {
  const place = ref.kind === 'slot' ? nameOf(ref.offset) : `[${ref.field}${ref.delta === 0 ? '' : ` + ${ref.delta}`}]`;
  return `${place}:${width}`;
}

const hints = (node: { align: boolean; stack: boolean }): string =>
  `${node.align ? ' align' : ''}${node.stack ? ' stack' : ''}`;

function nodeText(node: Node, nameOf: NameOffset): string {
  switch (node.op) {
    case 'const':
      return `0x${node.value.toString(16)}`;
    case 'unary':
      return `${node.name} ${v(node.a)}`;
    case 'binary':
      return `${node.name} ${v(node.a)}, ${v(node.b)}`;
    case 'select':
      return `select ${v(node.cond)} ? ${v(node.a)} : ${v(node.b)}`;
    case 'extract':
      return `${node.shape}.extract ${v(node.a)}, ${node.lane}`;
    case 'replace':
      return `${node.shape}.replace ${v(node.a)}, ${node.lane}, ${v(node.b)}`;
    case 'shuffle':
      return `shuffle ${v(node.a)}, ${v(node.b)}, ${node.lanes.join(' ')}`;
    case 'field':
      return `field ${node.name}`;
    case 'get':
      return `get ${refText(node.ref, node.width, nameOf)}`;
    case 'linear':
      return node.delta === null ? 'linear' : `linear + ${v(node.delta)}`;
    case 'offset':
    case 'nextRip':
    case 'targetRip':
      return node.op;
    case 'load':
      return `load ${v(node.addr)}:${node.width}${hints(node)}`;
    case 'probe':
      return `probe ${v(node.addr)}:${node.bytes}${hints(node)}`;
    case 'peek':
      return `peek ${v(node.token)} + ${node.offset}:${node.width}`;
    case 'raise':
      return `raise #${node.vector}(${node.error}) if ${v(node.cond)}`;
    case 'complete':
      return `complete if ${v(node.cond)}`;
    case 'call': {
      const call = `call ${node.helper}(${node.args.map(v).join(', ')})`;
      return node.shortcut === null ? call : `${v(node.shortcut.when)} ? ${v(node.shortcut.value)} : ${call}`;
    }
  }
}

function commitText(commit: Commit, nameOf: NameOffset): string {
  switch (commit.op) {
    case 'set':
      return `set ${refText(commit.ref, commit.width, nameOf)} = ${v(commit.value)}`;
    case 'store':
      return `store ${v(commit.token)} + ${commit.offset}:${commit.width} = ${v(commit.value)}`;
    case 'raiseAfter':
      return `raise #${commit.vector}(${commit.error}) if ${v(commit.cond)}`;
    case 'jump':
      return `jump ${v(commit.rip)}`;
    case 'branch':
      return commit.cond === null ? 'branch' : `branch if ${v(commit.cond)}`;
    case 'repeat':
      return `repeat if ${v(commit.cond)}`;
  }
}

/** One line an operation, the commits after the body. */
export function printProgram(program: Program, nameOf: NameOffset = numbered): string {
  const body = program.body.map((node, id) => `  ${v(id).padEnd(5)}${node.type.padEnd(5)}${nodeText(node, nameOf)}`);
  const commits = program.commits.map((commit) => `  ${commitText(commit, nameOf)}`);
  return [...body, ...commits].join('\n');
}
