/** Which values a node or a commit of a program uses. */
import type { Commit, Node } from './program.ts';

/** Ids of the values that a node uses. */
export function operandsOf(node: Node): readonly number[] {
  switch (node.op) {
    case 'unary':
    case 'extract':
      return [node.a];
    case 'binary':
    case 'replace':
    case 'shuffle':
      return [node.a, node.b];
    case 'select':
      return [node.cond, node.a, node.b];
    case 'linear':
      return node.delta === null ? [] : [node.delta];
    case 'load':
    case 'probe':
      return [node.addr];
    case 'peek':
      return [node.token];
    case 'raise':
    case 'complete':
      return [node.cond];
    case 'call':
      return node.shortcut === null ? node.args : [...node.args, node.shortcut.when, node.shortcut.value];
    default:
      return [];
  }
}
/** Ids of the values that a commit uses. */
export function valuesOf(commit: Commit): readonly number[] {
  switch (commit.op) {
    case 'set':
      return [commit.value];
    case 'store':
      return [commit.token, commit.value];
    case 'raiseAfter':
    case 'repeat':
      return [commit.cond];
    case 'jump':
      return [commit.rip];
    case 'branch':
      return commit.cond === null ? [] : [commit.cond];
  }
}
