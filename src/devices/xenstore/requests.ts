/**
 * What each request of a domain does and answers (docs/misc/xenstore.txt; errors and their order as tools/xenstored).
 *
 * Invariants: a handler returns the reply's payload or an error name and never throws; watch events of a change are queued
 * before its reply, the first event of a new watch after its reply.
 */
import { messageBytes, ownedNodes, QUOTA, recordBytes } from './quota.ts';
import type { EventScope, LiveNodes, Transaction } from './transactions.ts';
import {
  commit,
  EVENT,
  liveAccess,
  ownedAfter,
  queueEvent,
  startTransaction,
  transactionAccess,
} from './transactions.ts';
import {
  ACCESS,
  accessOf,
  baseName,
  canonicalPath,
  type Node,
  type NodeAccess,
  parentPath,
  parsePermission,
  permissionText,
  removeNode,
  writeNode,
} from './tree.ts';
import type { Watch } from './watches.ts';
import { bytesOf, FEATURES, type Message, PAYLOAD_MAX, textOf, XS, type XsError } from './wire.ts';

/** What the handlers need of the daemon. */
export interface Connection {
  readonly domain: number;
  readonly live: LiveNodes;
  watches: Watch[];
  transactions: Transaction[];
  nextTransaction: number;
  /** Bytes that may yet be charged to the domain. */
  readonly room: () => number;
  /** Queues the watch events of a change that the domain may know of. */
  fire(path: string, scope: EventScope, node: Node | null, before: Node['permissions']): void;
  /** Queues one event of `watch` that is to follow the reply. */
  fireLater(watch: Watch): void;
}

type Reply = Uint8Array | XsError;
/** Answers up to this length need no memory of their own (DEFAULT_BUFFER_SIZE). */
const SHORT_ANSWER = 16;
const OK = bytesOf('OK\0');

/** One request at work: its connection, the tree it sees, its transaction. */
interface Work {
  readonly connection: Connection;
  readonly within: Transaction | null;
  readonly tree: NodeAccess;
  readonly payload: Uint8Array;
}

/** Finds a node with the rights `needed`, or says what xenstored would: only a domain that could see it learns ENOENT. */
function find(
  work: Work,
  text: string | null,
  needed: number,
  special = false,
): { path: string; node: Node } | XsError {
  const { domain } = work.connection;
  const path = text === null ? null : canonicalPath(text, domain, special);
  if (path === null) return 'EINVAL';
  const node = work.tree.get(path);
  if (node === null) return nearestAllows(work, path, needed) ? 'ENOENT' : 'EACCES';
  return (accessOf(node.permissions, domain) & needed) === needed ? { path, node } : 'EACCES';
}

/** The nearest ancestor that exists gives any of the rights `needed`. */
function nearestAllows(work: Work, path: string, needed: number): boolean {
  let above = parentPath(path);
  let node = work.tree.get(above);
  while (node === null) {
    above = parentPath(above);
    node = work.tree.get(above);
  }
  return (accessOf(node.permissions, work.connection.domain) & needed) !== 0;
}

/** The payload as one string that ends at its only zero byte, or null. */
function oneString(payload: Uint8Array): string | null {
  return payload.length > 0 && payload.indexOf(0) === payload.length - 1 ? textOf(payload.subarray(0, -1)) : null;
}

/** All zero-terminated strings; what follows the last zero is ignored. */
const strings = (payload: Uint8Array): string[] => textOf(payload).split('\0').slice(0, -1);
const joined = (items: readonly string[]): Uint8Array => bytesOf(items.map((item) => `${item}\0`).join(''));

function changed(work: Work, path: string, scope: EventScope, before: Node['permissions'] = []): void {
  if (work.within !== null) queueEvent(work.within, path, scope);
  else work.connection.fire(path, scope, work.tree.get(path), before);
}

function read(work: Work): Reply {
  const found = find(work, oneString(work.payload), ACCESS.read);
  return typeof found === 'string' ? found : found.node.value;
}

function directory(work: Work): Reply {
  const found = find(work, oneString(work.payload), ACCESS.read);
  return typeof found === 'string' ? found : joined(found.node.children);
}

function directoryPart(work: Work): Reply {
  const [path, offsetText, ...rest] = strings(work.payload);
  if (path === undefined || offsetText === undefined || rest.length > 0) return 'EINVAL';
  const found = find(work, path, ACCESS.read);
  if (typeof found === 'string') return found;
  const generation = bytesOf(`${found.node.generation}\0`);
  const all = joined(found.node.children);
  const offset = Number.parseInt(offsetText, 10) || 0;
  const room = PAYLOAD_MAX - generation.length - 1;
  const left = all.subarray(Math.min(Math.max(offset, 0), all.length));
  // Whole names only; an empty name ends the list.
  const part = left.length <= room ? left : left.subarray(0, left.lastIndexOf(0, room - 1) + 1);
  const end = part.length === left.length ? [0] : [];
  return Uint8Array.from([...generation, ...part, ...end]);
}

/** A quota was met after a part of the work: a transaction cannot take that back, it has failed. */
function fail(work: Work, error: XsError): XsError {
  if (work.within !== null) work.within.failed = true;
  return error;
}

/** Charges made by a node: those of the domain's own nodes, and all that a transaction writes. */
function chargeOf(work: Work, path: string, node: Node): number {
  const own = work.within !== null || node.permissions[0]!.domain === work.connection.domain;
  return own ? path.length + recordBytes(node) : 0;
}

/** What stands against `changed` taking the place of `before`, null: nothing. */
function refusal(work: Work, path: string, before: Node, changed: Node): XsError | null {
  if (recordBytes(changed) >= QUOTA.nodeBytes) return fail(work, 'ENOSPC');
  const charge = chargeOf(work, path, changed) - chargeOf(work, path, before);
  return charge >= work.connection.room() ? fail(work, 'EIO') : null;
}

/** create_node's checks of each new node, the lowest first, and of the node that they hang from. */
function refusalOfNew(work: Work, path: string, value: Uint8Array): XsError | null {
  const { domain, live } = work.connection;
  const missing: string[] = [];
  let above = path;
  let parent: Node | null = null;
  for (; parent === null; parent = work.tree.get(above)) {
    missing.push(above);
    above = parentPath(above);
  }
  const permissions = [{ ...parent.permissions[0]!, domain }, ...parent.permissions.slice(1)];
  let owned = ownedNodes(live.nodes, domain);
  let charge = 0;
  for (const [i, at] of missing.entries()) {
    if (owned >= QUOTA.nodes) return i === 0 ? 'ENOSPC' : fail(work, 'ENOSPC');
    const children = i === 0 ? [] : [baseName(missing[i - 1]!)];
    const node: Node = { value: i === 0 ? value : new Uint8Array(0), permissions, children, generation: 0 };
    if (recordBytes(node) >= QUOTA.nodeBytes) return fail(work, 'ENOSPC');
    charge += chargeOf(work, at, node);
    if (charge >= work.connection.room()) return fail(work, 'EIO');
    if (work.within === null) owned++;
  }
  const linked = { ...parent, children: [...parent.children, baseName(missing.at(-1)!)] };
  return refusal(work, above, parent, linked);
}

/** Creates the node at a path that {@link find} called ENOENT. */
function create(work: Work, text: string, value: Uint8Array): Reply {
  const { domain } = work.connection;
  const path = canonicalPath(text, domain, false)!;
  const refused = refusalOfNew(work, path, value);
  if (refused !== null) return refused;
  writeNode(work.tree, path, value, domain);
  changed(work, path, EVENT.subtree);
  return OK;
}

function write(work: Work): Reply {
  const end = work.payload.indexOf(0);
  if (end < 0) return 'EINVAL';
  const text = textOf(work.payload.subarray(0, end));
  const value = work.payload.slice(end + 1);
  const found = find(work, text, ACCESS.write);
  if (found === 'ENOENT') return create(work, text, value);
  if (typeof found === 'string') return found;
  const refused = refusal(work, found.path, found.node, { ...found.node, value });
  if (refused !== null) return refused;
  writeNode(work.tree, found.path, value, work.connection.domain);
  changed(work, found.path, EVENT.subtree);
  return OK;
}

function mkdir(work: Work): Reply {
  const text = oneString(work.payload);
  const found = find(work, text, ACCESS.write);
  if (found === 'ENOENT') return create(work, text!, new Uint8Array(0));
  return typeof found === 'string' ? found : OK;
}

function rm(work: Work): Reply {
  const text = oneString(work.payload);
  const found = find(work, text, ACCESS.write);
  if (found === 'ENOENT') {
    const path = canonicalPath(text!, work.connection.domain, false)!;
    return work.tree.get(parentPath(path)) === null ? 'ENOENT' : OK;
  }
  if (typeof found === 'string') return found;
  if (found.path === '/') return 'EINVAL';
  removeNode(work.tree, found.path, (path) => changed(work, path, path === found.path ? EVENT.subtree : EVENT.exact));
  return OK;
}

function getPerms(work: Work): Reply {
  const found = find(work, oneString(work.payload), ACCESS.read, true);
  return typeof found === 'string' ? found : joined(found.node.permissions.map(permissionText));
}

function setPerms(work: Work): Reply {
  const [text, ...given] = strings(work.payload);
  if (text === undefined || given.length === 0) return 'EINVAL';
  if (given.length > QUOTA.permissions) return 'ENOSPC';
  const permissions = given.map(parsePermission);
  if (permissions.includes(null)) return 'EINVAL';
  const found = find(work, text, ACCESS.write | ACCESS.owner, true);
  if (typeof found === 'string') return found;
  const before = found.node.permissions;
  if (permissions[0]!.domain !== before[0]!.domain) return 'EPERM';
  const next: Node = { ...found.node, permissions: permissions as Node['permissions'] };
  const refused = refusal(work, found.path, found.node, next);
  if (refused !== null) return refused;
  work.tree.put(found.path, next);
  changed(work, found.path, EVENT.subtree, before);
  return OK;
}

/** Path and token of a WATCH or UNWATCH. */
function watchArguments(work: Work): Watch | null {
  const [text, token, ...rest] = strings(work.payload);
  if (text === undefined || token === undefined || rest.length > 0) return null;
  const path = canonicalPath(text, work.connection.domain, true);
  return path === null ? null : { path, token, prefix: path.length - text.length };
}

function addWatch(work: Work): Reply {
  const { connection } = work;
  const watch = watchArguments(work);
  if (watch === null) return 'EINVAL';
  if (connection.watches.some((w) => w.path === watch.path && w.token === watch.token)) return 'EEXIST';
  if (connection.watches.length > QUOTA.watches) return 'E2BIG';
  if (watch.path.length + watch.token.length >= connection.room()) return 'ENOMEM';
  connection.watches.push(watch);
  connection.fireLater(watch);
  return OK;
}

function removeWatch(work: Work): Reply {
  const { connection } = work;
  const watch = watchArguments(work);
  if (watch === null) return 'EINVAL';
  const at = connection.watches.findIndex((w) => w.path === watch.path && w.token === watch.token);
  if (at < 0) return 'ENOENT';
  connection.watches.splice(at, 1);
  return OK;
}

function resetWatches(work: Work): Reply {
  work.connection.watches = [];
  work.connection.transactions = [];
  return OK;
}

function transactionStart(work: Work): Reply {
  const { connection } = work;
  if (work.within !== null) return 'EBUSY';
  if (connection.transactions.length > QUOTA.transactions) return 'ENOSPC';
  const taken = (id: number): boolean => id === 0 || connection.transactions.some((t) => t.id === id);
  while (taken(connection.nextTransaction)) connection.nextTransaction = (connection.nextTransaction + 1) >>> 0;
  const id = connection.nextTransaction;
  connection.nextTransaction = (id + 1) >>> 0;
  connection.transactions.push(startTransaction(connection.live, id));
  return bytesOf(`${id}\0`);
}

function transactionEnd(work: Work): Reply {
  const { connection, within } = work;
  const how = oneString(work.payload);
  if (how !== 'T' && how !== 'F') return 'EINVAL';
  if (within === null) return 'ENOENT';
  connection.transactions = connection.transactions.filter((t) => t !== within);
  if (how === 'F') return OK;
  if (within.failed) return 'ENOMEM';
  const { domain, live } = connection;
  const before = ownedNodes(live.nodes, domain);
  const after = ownedAfter(live, within, domain);
  if (after !== before && after >= QUOTA.nodes) return 'ENOSPC';
  const events = commit(connection.live, within);
  if (events === null) return 'EAGAIN';
  for (const event of events) connection.fire(event.path, event.scope, event.node, [...event.before]);
  return OK;
}

function getDomainPath(work: Work): Reply {
  const text = oneString(work.payload);
  if (text === null || !/^\d+$/.test(text) || Number(text) > 0xffff) return 'EINVAL';
  return bytesOf(`/local/domain/${Number(text)}\0`);
}

function getFeature(work: Work): Reply {
  return strings(work.payload).length === 0 ? bytesOf(`${FEATURES}\0`) : 'EACCES';
}

const refused = (): Reply => 'EACCES';

const HANDLERS: Partial<Record<number, (work: Work) => Reply>> = {
  [XS.control]: refused,
  [XS.directory]: directory,
  [XS.read]: read,
  [XS.getPerms]: getPerms,
  [XS.watch]: addWatch,
  [XS.unwatch]: removeWatch,
  [XS.transactionStart]: transactionStart,
  [XS.transactionEnd]: transactionEnd,
  [XS.introduce]: refused,
  [XS.release]: refused,
  [XS.getDomainPath]: getDomainPath,
  [XS.write]: write,
  [XS.mkdir]: mkdir,
  [XS.rm]: rm,
  [XS.setPerms]: setPerms,
  [XS.isDomainIntroduced]: refused,
  [XS.resume]: refused,
  [XS.setTarget]: refused,
  [XS.resetWatches]: resetWatches,
  [XS.directoryPart]: directoryPart,
  [XS.getFeature]: getFeature,
  [XS.setFeature]: refused,
  [XS.getQuota]: refused,
  [XS.setQuota]: refused,
};

/** Carries out `request` and returns the answer. */
export function answer(connection: Connection, request: Message): Message {
  const reply = carryOut(connection, request);
  const error = typeof reply === 'string' ? reply : unsendable(connection, reply.length);
  return {
    type: error === null ? request.type : XS.error,
    requestId: request.requestId,
    transactionId: request.transactionId,
    payload: error === null ? (reply as Uint8Array) : bytesOf(`${error}\0`),
  };
}

/** What is sent instead of an answer that is too long, or for which the domain has no room; errors always have some. */
function unsendable(connection: Connection, bytes: number): XsError | null {
  if (bytes > PAYLOAD_MAX) return 'E2BIG';
  return bytes > SHORT_ANSWER && messageBytes(bytes) >= connection.room() ? 'ENOMEM' : null;
}

function carryOut(connection: Connection, request: Message): Reply {
  const handler = HANDLERS[request.type];
  if (handler === undefined) return 'ENOSYS';
  if (handler === refused) return refused();
  const ignoresTransaction = request.type === XS.watch || request.type === XS.unwatch;
  const id = ignoresTransaction ? 0 : request.transactionId;
  const within = id === 0 ? null : (connection.transactions.find((t) => t.id === id) ?? null);
  if (id !== 0 && within === null) return 'ENOENT';
  let full = false;
  const tree =
    within === null
      ? liveAccess(connection.live)
      : transactionAccess(connection.live, within, () => {
          full = true;
        });
  const reply = handler({ connection, within, tree, payload: request.payload });
  return full ? 'ENOSPC' : reply;
}
