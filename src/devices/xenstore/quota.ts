/**
 * What xenstored lets an unprivileged domain have (tools/xenstore/xenstored_core.c, xenstored_domain.c of 4.17): numbers of things,
 * sizes of nodes, and the memory that all of it takes.
 */
import type { Transaction } from './transactions.ts';
import type { Node, Nodes } from './tree.ts';
import type { Watch } from './watches.ts';
import { HEADER_BYTES, type QueuedMessage } from './wire.ts';

/** The limits; each is compared as xenstored does, which lets one watch and one transaction more than its number be. */
export const QUOTA = {
  nodes: 1000,
  watches: 128,
  transactions: 10,
  /** Nodes that one transaction may look at. */
  transactionNodes: 1024,
  permissions: 5,
  /** A node is smaller than this: header, permissions, value and names of children. */
  nodeBytes: 2048,
  /** A domain's memory stays below this: quota_memory_per_domain_hard. */
  memoryBytes: 2.5 * 2 ** 20,
} as const;

/** sizeof(struct xs_tdb_record_hdr) and sizeof(struct xs_permissions). */
const RECORD_HEADER_BYTES = 24;
const PERMISSION_BYTES = 8;

/** Bytes of a node's record in the data base. */
export function recordBytes({
  permissions,
  value,
  children,
}: Pick<Node, 'permissions' | 'value' | 'children'>): number {
  let bytes = RECORD_HEADER_BYTES + PERMISSION_BYTES * permissions.length + value.length;
  for (const child of children) bytes += child.length + 1;
  return bytes;
}
/** Nodes that `domain` owns. */
export function ownedNodes(nodes: Nodes, domain: number): number {
  let count = 0;
  for (const node of nodes.values()) if (node.permissions[0]!.domain === domain) count++;
  return count;
}
/** Bytes that a message takes while it waits. */
export const messageBytes = (payloadBytes: number): number => HEADER_BYTES + payloadBytes;

/** What is charged to a domain. */
export interface Charged {
  readonly nodes: Nodes;
  readonly transactions: readonly Transaction[];
  readonly watches: readonly Watch[];
  readonly output: readonly QueuedMessage[];
}

/** The memory charged to `domain`: its nodes, what its transactions have copied, its watches, what waits for it. */
export function memoryBytes({ nodes, transactions, watches, output }: Charged, domain: number): number {
  let bytes = 0;
  for (const [path, node] of nodes)
    if (node.permissions[0]!.domain === domain) bytes += path.length + recordBytes(node);
  for (const transaction of transactions)
    for (const path of transaction.accessed.keys()) {
      const node = transaction.nodes.get(path);
      // its key in the data base begins with the transaction's number
      if (node !== undefined) bytes += String(transaction.id).length + path.length + recordBytes(node);
    }
  for (const { path, token } of watches) bytes += path.length + token.length;
  for (const message of output) bytes += message.bytes.length;
  return bytes;
}
