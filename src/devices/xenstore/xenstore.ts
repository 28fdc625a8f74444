/**
 * The xenstore daemon as one PV domain sees it (D-50): a tree, watches, transactions and a ring.
 *
 * Invariants: everything the daemon knows is in `state`; requests are answered in order; what does not fit into the ring
 * waits in `state.output`, and no request is taken while too much waits; events depend on nothing but order; what the domain
 * may have is bounded (quota.ts).
 */
import { bool, bytes, type Infer, integer, list, struct, u32 } from '../../core/schema.ts';
import { sectionOf } from '../../core/state-section.ts';
import { unitsOf } from '../../core/work.ts';
import type { Device, DeviceHost } from '../device.ts';
import { createDomain, createStore, type DomainNodes, describeDomain, domainPath, writeText } from './domain-nodes.ts';
import { type Charged, memoryBytes, messageBytes, QUOTA } from './quota.ts';
import { answer, type Connection } from './requests.ts';
import { EVENT, type EventScope, liveAccess, transaction } from './transactions.ts';
import { canonicalPath, type Node, nodes, parentPath, removeNode } from './tree.ts';
import { matches, mayKnow, reportedPath, type Watch, watch } from './watches.ts';
import * as wire from './wire.ts';

export const xenStoreState = struct({
  /** Machine frame of the ring page (0: not attached) and the guest's port. */
  frame: integer,
  port: integer,
  nodes,
  generation: integer,
  watches: list(watch),
  transactions: list(transaction),
  nextTransaction: u32,
  /** The part of a request that has come so far. */
  input: bytes,
  /** Answers and events not yet (wholly) in the ring, and how much of the first is. */
  output: list(wire.queuedMessage),
  sent: integer,
  /** The guest broke the protocol; nothing is read or written until it reconnects. */
  ignored: bool,
});
export type XenStoreState = Infer<typeof xenStoreState>;

const DOMAIN = 1;
const DEFAULT = { name: 'guest', uuid: '00000000-0000-4000-8000-000000000001' } as const;
/** Nodes that a request may look at or copy for a unit of work. */
const NODES_PER_UNIT = 8;
/** Answers and events that may wait before requests do. */
const OUTSTANDING_MAX = 20;

function freshState(name: string, uuid: string): XenStoreState {
  const state: XenStoreState = {
    frame: 0,
    port: 0,
    nodes: new Map(),
    generation: 0,
    watches: [],
    transactions: [],
    nextTransaction: 1,
    input: new Uint8Array(0),
    output: [],
    sent: 0,
    ignored: false,
  };
  createStore(liveAccess(state));
  createDomain(liveAccess(state), DOMAIN, name, uuid);
  return state;
}

export class XenStore implements Device {
  readonly id = 'xenstore';
  readonly section = sectionOf(this.id, xenStoreState, this);
  state: XenStoreState = freshState(DEFAULT.name, DEFAULT.uuid);
  readonly #host: DeviceHost;
  /** What follows from the queue of `state`: the payloads of the events in it. */
  #waiting = new Set<string>();
  #waitingIn: readonly wire.QueuedMessage[] | null = null;
  /** Bytes that the events of the change at hand may yet take; null until the first of them. */
  #room: number | null = null;

  constructor(host: DeviceHost) {
    this.#host = host;
  }

  /** Takes the ring page at machine frame `frame`, of which the guest hears at its port `port`. */
  attach(frame: number, port: number): void {
    this.state.frame = frame;
    this.state.port = port;
    this.#host.memory.write32(frame * 4096 + wire.RING.features, wire.FEATURES);
    const tree = liveAccess(this.state);
    writeText(tree, `${domainPath(DOMAIN)}/store/port`, String(port));
    writeText(tree, `${domainPath(DOMAIN)}/store/ring-ref`, String(frame));
  }

  /** Fills in the nodes of the built domain, before it runs. */
  describe(domain: DomainNodes): void {
    const { frame, port } = this.state;
    this.state = freshState(domain.name, domain.uuid);
    if (frame !== 0) this.attach(frame, port);
    describeDomain(liveAccess(this.state), DOMAIN, domain);
  }

  // ---- toolstack side -----------------------------------------------------------------------------------------------

  /** Writes as domain 0 does (`control/shutdown` and the like): relative paths are the domain's; fires its watches. */
  write(path: string, value: string): void {
    const at = this.#path(path);
    writeText(liveAccess(this.state), at, value);
    this.#room = null;
    this.#fire(at, EVENT.subtree, this.state.nodes.get(at) ?? null, []);
    this.service();
  }
  /** Removes a node with all below it, as domain 0 does; nothing happens when it does not exist. */
  remove(path: string): void {
    const at = this.#path(path);
    if (!this.state.nodes.has(at)) return;
    this.#room = null;
    removeNode(liveAccess(this.state), at, (gone) =>
      this.#fire(gone, gone === at ? EVENT.subtree : EVENT.exact, this.state.nodes.get(gone)!, []),
    );
    this.service();
  }
  /** The text at `path`, or null. */
  read(path: string): string | null {
    const node = this.state.nodes.get(this.#path(path));
    return node === undefined ? null : wire.textOf(node.value);
  }
  #path(path: string): string {
    const at = canonicalPath(path, DOMAIN, false);
    if (at === null) throw new RangeError(`not a xenstore path: ${path}`);
    return at;
  }

  // ---- ring ---------------------------------------------------------------------------------------------------------

  /** {@link XenStore.service} would find nothing to do. */
  get isQuiet(): boolean {
    const { frame, ignored, output } = this.state;
    if (frame === 0) return true;
    const page = frame * 4096;
    if (this.#host.memory.read32(page + wire.RING.connection) === wire.CONNECTION.reconnect) return false;
    if (ignored) return true;
    const { memory } = this.#host;
    return output.length === 0 && memory.read32(page + wire.RING.reqProd) === memory.read32(page + wire.RING.reqCons);
  }
  /** Answers what the guest has asked and hands over what fits; to be called when the guest notifies, yields or blocks. */
  service(): void {
    const { state } = this;
    if (this.isQuiet) return;
    const page = state.frame * 4096;
    if (this.#host.memory.read32(page + wire.RING.connection) === wire.CONNECTION.reconnect) this.#reconnect(page);
    const requests = new wire.RingQueue(this.#host.memory, page, 'requests');
    const responses = new wire.RingQueue(this.#host.memory, page, 'responses');
    let moved = false;
    while (!state.ignored && (this.#takeRequest(requests) || this.#flush(responses))) moved = true;
    if (moved) this.#host.notify(state.port);
  }

  /** Takes bytes of the request at hand and answers it when whole; false when nothing could be taken. */
  #takeRequest(ring: wire.RingQueue): boolean {
    const { state } = this;
    const used = ring.used;
    if (used === null) return this.#ignore(wire.RING_ERROR.indexes);
    if (used === 0 || state.output.length >= OUTSTANDING_MAX) return false;
    const wanted = state.input.length < wire.HEADER_BYTES ? wire.HEADER_BYTES : this.#requestBytes();
    const taken = ring.take(Math.min(used, wanted - state.input.length));
    const input = new Uint8Array(state.input.length + taken.length);
    input.set(state.input);
    input.set(taken, state.input.length);
    state.input = input;
    if (input.length < wire.HEADER_BYTES) return true;
    if (wire.payloadLength(input) > wire.PAYLOAD_MAX) return this.#ignore(wire.RING_ERROR.protocol);
    if (input.length === this.#requestBytes()) {
      state.input = new Uint8Array(0);
      this.#process(wire.decodeMessage(input));
    }
    return true;
  }
  #requestBytes(): number {
    return wire.HEADER_BYTES + wire.payloadLength(this.state.input);
  }

  /** Moves output into the ring; false when nothing moved. */
  #flush(ring: wire.RingQueue): boolean {
    const { state } = this;
    const first = state.output[0];
    if (first === undefined) return false;
    const used = ring.used;
    if (used === null) return this.#ignore(wire.RING_ERROR.indexes);
    const count = Math.min(wire.RING_BYTES - used, first.bytes.length - state.sent);
    if (count === 0) return false;
    ring.put(first.bytes.subarray(state.sent, state.sent + count));
    state.sent += count;
    if (state.sent === first.bytes.length) {
      state.output.shift();
      state.sent = 0;
      if (first.event && this.#waitingIn === state.output) this.#waiting.delete(payloadOf(first));
    }
    return true;
  }

  #ignore(reason: number): boolean {
    this.#host.memory.write32(this.state.frame * 4096 + wire.RING.error, reason);
    this.#forget();
    this.state.ignored = true;
    return true;
  }
  #forget(): void {
    Object.assign(this.state, { watches: [], transactions: [], input: new Uint8Array(0), output: [], sent: 0 });
  }
  #reconnect(page: number): void {
    this.#forget();
    this.state.ignored = false;
    new wire.RingQueue(this.#host.memory, page, 'requests').reset();
    new wire.RingQueue(this.#host.memory, page, 'responses').reset();
    this.#host.memory.write32(page + wire.RING.error, wire.RING_ERROR.none);
    this.#host.memory.write32(page + wire.RING.connection, wire.CONNECTION.connected);
    this.#host.notify(this.state.port);
  }

  // ---- requests -----------------------------------------------------------------------------------------------------

  #process(request: wire.Message): void {
    const { state } = this;
    const later: Watch[] = [];
    const connection: Connection = {
      domain: DOMAIN,
      live: state,
      watches: state.watches,
      transactions: state.transactions,
      nextTransaction: state.nextTransaction,
      room: () => this.#roomOf({ ...state, watches: connection.watches, transactions: connection.transactions }),
      fire: (path, scope, node, before) => this.#fire(path, scope, node, before),
      fireLater: (w) => later.push(w),
    };
    this.#room = null;
    const reply = answer(connection, request);
    this.#host.charge(
      unitsOf(request.payload.length + reply.payload.length) + Math.ceil(state.nodes.size / NODES_PER_UNIT),
    );
    state.watches = connection.watches;
    state.transactions = connection.transactions;
    state.nextTransaction = connection.nextTransaction;
    state.output.push({ event: false, bytes: wire.encodeMessage(reply) });
    for (const w of later) this.#event(w, w.path);
  }

  #fire(path: string, scope: EventScope, node: Node | null, before: Node['permissions']): void {
    const parent = this.state.nodes.get(parentPath(path)) ?? null;
    this.#host.charge(this.state.watches.length);
    if (!mayKnow(DOMAIN, node, before, parent)) return;
    for (const w of this.state.watches) if (matches(w, path, scope)) this.#event(w, path);
  }

  /** Bytes that may yet be charged to the domain. */
  #roomOf(charged: Charged): number {
    const looked = charged.transactions.reduce((sum, t) => sum + t.accessed.size, charged.nodes.size);
    this.#host.charge(Math.ceil(looked / NODES_PER_UNIT) + charged.output.length);
    return QUOTA.memoryBytes - memoryBytes(charged, DOMAIN);
  }

  /**
   * Queues a watch event, unless the same one waits already or the domain has no room for it; special events always count as
   * new ones.
   */
  #event(w: Watch, path: string): void {
    const { output } = this.state;
    const reported = reportedPath(w, path);
    const bytes = reported.length + w.token.length + 2;
    if (bytes > wire.PAYLOAD_MAX) return;
    this.#room ??= this.#roomOf(this.state);
    if (messageBytes(bytes) >= this.#room) return;
    this.#host.charge(unitsOf(bytes));
    const text = `${reported}\0${w.token}\0`;
    if (this.#waitingIn !== output) {
      this.#waiting = new Set(output.filter((m) => m.event).map(payloadOf));
      this.#waitingIn = output;
    }
    if (!path.startsWith('@') && this.#waiting.has(text)) return;
    const message = { type: wire.XS.watchEvent, requestId: 0, transactionId: 0, payload: wire.bytesOf(text) };
    output.push({ event: true, bytes: wire.encodeMessage(message) });
    this.#waiting.add(text);
    this.#room -= messageBytes(bytes);
  }
}

const payloadOf = (message: wire.QueuedMessage): string => wire.textOf(message.bytes.subarray(wire.HEADER_BYTES));
