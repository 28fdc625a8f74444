/**
 * Transactions: a snapshot of the nodes at the start, and at the end either all changes or EAGAIN.
 *
 * Invariants: a transaction commits only if every node it read or wrote still has the generation the snapshot had; it looks at
 * QUOTA.transactionNodes nodes at most, and one that asked for more, or met another quota half-way, has failed.
 */
import { bool, type Infer, integer, list, map, string, struct, u8, u32 } from '../../core/schema.ts';
import { ownedNodes, QUOTA } from './quota.ts';
import { type Node, type NodeAccess, type Nodes, nodes, type Permission, permission } from './tree.ts';

/** Which watches a change concerns: none, those of the node and above, or those of exactly this node. */
export const EVENT = { none: 0, subtree: 1, exact: 2 } as const;
export type EventScope = (typeof EVENT)[keyof typeof EVENT];

const accessed = struct({
  /** Generation in the snapshot, -1 when the node did not exist. */
  generation: integer,
  /** Permissions in the snapshot, empty when the node did not exist. */
  permissions: list(permission),
  modified: bool,
  /** One of EVENT, fired at the commit. */
  event: u8,
});

export const transaction = struct({ id: u32, nodes, accessed: map(string, accessed), failed: bool });
export type Transaction = Infer<typeof transaction>;

/** The live part of the daemon's state that transactions read and change. */
export interface LiveNodes {
  nodes: Nodes;
  generation: number;
}

/** A transaction on a snapshot of `live`. */
export const startTransaction = (live: LiveNodes, id: number): Transaction => ({
  id,
  nodes: new Map(live.nodes),
  accessed: new Map(),
  failed: false,
});

/** Reads and writes the live tree. */
export function liveAccess(live: LiveNodes): NodeAccess {
  return {
    get: (path) => live.nodes.get(path) ?? null,
    put: (path, value) => live.nodes.set(path, { ...value, generation: ++live.generation }),
    delete: (path) => {
      live.generation++;
      live.nodes.delete(path);
    },
  };
}

/** Reads and writes a transaction's snapshot and notes what was touched; `full` is told of a node beyond the quota. */
export function transactionAccess(live: LiveNodes, within: Transaction, full: () => void): NodeAccess {
  const touch = (path: string): Infer<typeof accessed> => {
    let entry = within.accessed.get(path);
    if (entry === undefined) {
      const now = within.nodes.get(path);
      entry = {
        generation: now?.generation ?? -1,
        permissions: now?.permissions ?? [],
        modified: false,
        event: EVENT.none,
      };
      if (within.accessed.size < QUOTA.transactionNodes) within.accessed.set(path, entry);
      else {
        within.failed = true;
        full();
      }
    }
    return entry;
  };
  return {
    get(path) {
      touch(path);
      return within.nodes.get(path) ?? null;
    },
    put(path, value) {
      touch(path).modified = true;
      within.nodes.set(path, { ...value, generation: ++live.generation });
    },
    delete(path) {
      touch(path).modified = true;
      live.generation++;
      within.nodes.delete(path);
    },
  };
}

/** Notes that the commit is to fire watches for `path`; a change of the whole subtree outweighs an exact one. */
export function queueEvent(within: Transaction, path: string, scope: EventScope): void {
  const entry = within.accessed.get(path);
  if (entry === undefined) within.failed = true;
  else if (entry.event !== EVENT.subtree) entry.event = scope;
}

/** Nodes that `domain` would own after a commit. */
export function ownedAfter(live: LiveNodes, within: Transaction, domain: number): number {
  const owns = (node: Node | undefined): number =>
    node !== undefined && node.permissions[0]!.domain === domain ? 1 : 0;
  let count = ownedNodes(live.nodes, domain);
  for (const [path, { modified }] of within.accessed)
    if (modified) count += owns(within.nodes.get(path)) - owns(live.nodes.get(path));
  return count;
}

/** A change that a commit made known, in the order in which the transaction first touched the nodes. */
export interface CommittedEvent {
  readonly path: string;
  readonly scope: EventScope;
  readonly node: Node | null;
  readonly before: readonly Permission[];
}

/** Moves the transaction's changes into the live tree, or returns null (EAGAIN) where another change came between. */
export function commit(live: LiveNodes, within: Transaction): CommittedEvent[] | null {
  for (const [path, entry] of within.accessed)
    if ((live.nodes.get(path)?.generation ?? -1) !== entry.generation) return null;
  const events: CommittedEvent[] = [];
  for (const [path, entry] of within.accessed) {
    if (!entry.modified) continue;
    const value = within.nodes.get(path);
    live.generation++;
    if (value === undefined) live.nodes.delete(path);
    else live.nodes.set(path, { ...value, generation: live.generation });
    if (entry.event !== EVENT.none)
      events.push({ path, scope: entry.event as EventScope, node: value ?? null, before: entry.permissions });
  }
  return events;
}
