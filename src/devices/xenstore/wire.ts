/**
 * Messages and rings of the store (public/io/xs_wire.h, docs/misc/xenstore-ring.txt).
 *
 * Invariants: ring indexes are free-running 32-bit counts; bytes are taken only as far as the message at hand needs them, so a
 * message may span any number of visits and of ring wraps.
 */
import { bool, bytes, type Infer, struct } from '../../core/schema.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';

/** Message types. 15 and 16 come only from the store; 20 was removed. */
export const XS = {
  control: 0,
  directory: 1,
  read: 2,
  getPerms: 3,
  watch: 4,
  unwatch: 5,
  transactionStart: 6,
  transactionEnd: 7,
  introduce: 8,
  release: 9,
  getDomainPath: 10,
  write: 11,
  mkdir: 12,
  rm: 13,
  setPerms: 14,
  watchEvent: 15,
  error: 16,
  isDomainIntroduced: 17,
  resume: 18,
  setTarget: 19,
  resetWatches: 21,
  directoryPart: 22,
  getFeature: 23,
  setFeature: 24,
  getQuota: 25,
  setQuota: 26,
} as const;

/** Errors as the wire names them. */
export type XsError =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'ENOENT'
  | 'ENOSPC'
  | 'ENOSYS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'E2BIG'
  | 'EIO'
  | 'ENOMEM'
  | 'EPERM';

export const HEADER_BYTES = 16;
/** Longest payload in either direction. */
export const PAYLOAD_MAX = 4096;
export const RING_BYTES = 1024;

/** Offsets in the ring page. */
export const RING = {
  req: 0,
  rsp: 0x400,
  reqCons: 0x800,
  reqProd: 0x804,
  rspCons: 0x808,
  rspProd: 0x80c,
  features: 0x810,
  connection: 0x814,
  error: 0x818,
} as const;
/** Server features offered: the ring can be reconnected (1), the error field exists (2), as Xen 4.17's xenstored does. */
export const FEATURES = 3;
export const CONNECTION = { connected: 0, reconnect: 1 } as const;
/** Why the store ignores a connection: ring indexes further apart than the ring, or a payload too long. */
export const RING_ERROR = { none: 0, indexes: 2, protocol: 3 } as const;

export interface Message {
  readonly type: number;
  readonly requestId: number;
  readonly transactionId: number;
  readonly payload: Uint8Array;
}

export const queuedMessage = struct({ event: bool, bytes });
export type QueuedMessage = Infer<typeof queuedMessage>;

/** `message` as bytes. */
export function encodeMessage(message: Message): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + message.payload.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, message.type, true);
  view.setUint32(4, message.requestId, true);
  view.setUint32(8, message.transactionId, true);
  view.setUint32(12, message.payload.length, true);
  out.set(message.payload, HEADER_BYTES);
  return out;
}

/** The message that `data` holds whole. */
export function decodeMessage(data: Uint8Array): Message {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return {
    type: view.getUint32(0, true),
    requestId: view.getUint32(4, true),
    transactionId: view.getUint32(8, true),
    payload: data.slice(HEADER_BYTES),
  };
}

/** Payload length that the header at the start of `data` names. */
export const payloadLength = (data: Uint8Array): number =>
  new DataView(data.buffer, data.byteOffset, data.byteLength).getUint32(12, true);

/** One character a byte, both ways: paths, tokens and numbers on the wire. */
export const textOf = (data: Uint8Array): string => Array.from(data, (byte) => String.fromCharCode(byte)).join('');
export const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** One direction of a ring page at machine address `page`. */
export class RingQueue {
  readonly #memory: GuestMemory;
  readonly #data: number;
  readonly #cons: number;
  readonly #prod: number;
  constructor(memory: GuestMemory, page: number, direction: 'requests' | 'responses') {
    this.#memory = memory;
    this.#data = page + (direction === 'requests' ? RING.req : RING.rsp);
    this.#cons = page + (direction === 'requests' ? RING.reqCons : RING.rspCons);
    this.#prod = page + (direction === 'requests' ? RING.reqProd : RING.rspProd);
  }

  /** Bytes in the ring, or null when the indexes cannot be right. */
  get used(): number | null {
    const used = (this.#memory.read32(this.#prod) - this.#memory.read32(this.#cons)) >>> 0;
    return used > RING_BYTES ? null : used;
  }

  /** Takes `count` bytes that are there. */
  take(count: number): Uint8Array {
    const cons = this.#memory.read32(this.#cons);
    const at = cons % RING_BYTES;
    const first = Math.min(count, RING_BYTES - at);
    const out = new Uint8Array(count);
    out.set(this.#memory.readBytes(this.#data + at, first));
    out.set(this.#memory.readBytes(this.#data, count - first), first);
    this.#memory.write32(this.#cons, (cons + count) >>> 0);
    return out;
  }

  /** Puts bytes for which there is room. */
  put(data: Uint8Array): void {
    const prod = this.#memory.read32(this.#prod);
    const at = prod % RING_BYTES;
    const first = Math.min(data.length, RING_BYTES - at);
    this.#memory.writeBytes(this.#data + at, data.subarray(0, first));
    this.#memory.writeBytes(this.#data, data.subarray(first));
    this.#memory.write32(this.#prod, (prod + data.length) >>> 0);
  }

  /** Empties the ring and starts its indexes at zero. */
  reset(): void {
    this.#memory.write32(this.#cons, 0);
    this.#memory.write32(this.#prod, 0);
  }
}
