/** A small guest side of the xenstore ring, written from xs_wire.h: it knows nothing of the daemon. */
import { XenStore } from '../../../src/devices/xenstore/xenstore.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';

export interface Answer {
  type: number;
  requestId: number;
  transactionId: number;
  text: string;
}

const FRAME = 7;
const PAGE = FRAME * 4096;
export const PORT = 1;

export class Frontend {
  readonly memory: GuestMemory;
  readonly store: XenStore;
  notifications = 0;
  #received: number[] = [];
  #request = 0;

  constructor(firstIndex = 0) {
    this.memory = new GuestMemory({ vcpus: 1, slots: 4, frameLimit: 16, recordBytes: 4096 });
    this.memory.addFrame(FRAME);
    for (const at of [0x800, 0x804, 0x808, 0x80c]) this.memory.write32(PAGE + at, firstIndex);
    this.store = new XenStore({
      memory: this.memory,
      charge: () => {},
      notify: (port) => {
        if (port === PORT) this.notifications++;
      },
    });
    this.store.attach(FRAME, PORT);
  }
  word(offset: number): number {
    return this.memory.read32(PAGE + offset);
  }
  setWord(offset: number, value: number): void {
    this.memory.write32(PAGE + offset, value >>> 0);
  }

  /** Puts raw bytes into the request ring, as many as there is room for; returns how many. */
  push(bytes: Uint8Array): number {
    const prod = this.word(0x804);
    const room = 1024 - ((prod - this.word(0x800)) >>> 0);
    const count = Math.min(room, bytes.length);
    for (let i = 0; i < count; i++) this.memory.write8(PAGE + ((prod + i) % 1024), bytes[i]!);
    this.setWord(0x804, prod + count);
    return count;
  }
  /** Takes everything out of the response ring. */
  pull(): void {
    const prod = this.word(0x80c);
    let cons = this.word(0x808);
    for (; cons !== prod; cons = (cons + 1) >>> 0) this.#received.push(this.memory.read8(PAGE + 0x400 + (cons % 1024)));
    this.setWord(0x808, cons);
  }
  static message(type: number, payload: string, requestId: number, transactionId: number): Uint8Array {
    const out = new Uint8Array(16 + payload.length);
    const view = new DataView(out.buffer);
    [type, requestId, transactionId, payload.length].forEach((word, i) => {
      view.setUint32(i * 4, word, true);
    });
    for (let i = 0; i < payload.length; i++) out[16 + i] = payload.charCodeAt(i);
    return out;
  }
  /** Whole messages received and not yet looked at. */
  messages(): Answer[] {
    const out: Answer[] = [];
    this.pull();
    for (;;) {
      const view = new DataView(Uint8Array.from(this.#received.slice(0, 16)).buffer);
      if (view.byteLength < 16 || this.#received.length < 16 + view.getUint32(12, true)) return out;
      const body = this.#received.splice(0, 16 + view.getUint32(12, true)).slice(16);
      out.push({
        type: view.getUint32(0, true),
        requestId: view.getUint32(4, true),
        transactionId: view.getUint32(8, true),
        text: String.fromCharCode(...body),
      });
    }
  }
  /** Sends one request and drives the ring until everything has come back. */
  exchange(type: number, payload: string, transactionId = 0): { reply: Answer; events: string[]; all: Answer[] } {
    const requestId = ++this.#request;
    let left = Frontend.message(type, payload, requestId, transactionId);
    const all: Answer[] = [];
    for (let round = 0; round < 64; round++) {
      left = left.subarray(this.push(left));
      this.store.service();
      all.push(...this.messages());
      if (left.length === 0 && this.store.state.output.length === 0) break;
    }
    const reply = all.find((m) => m.requestId === requestId)!;
    return { reply, events: all.filter((m) => m.type === 15).map((m) => m.text), all };
  }
  /** The reply's text; an error reply is `!ENOENT`. */
  ask(type: number, payload: string, transactionId = 0): string {
    const { reply } = this.exchange(type, payload, transactionId);
    return reply.type === 16 ? `!${reply.text.replace('\0', '')}` : reply.text;
  }
}
