/**
 * The PV console (D-52): ring page and console_io, both directions.
 *
 * Invariants: nothing the guest wrote is dropped; input waits in `input` until the ring has room; the backend looks at the
 * ring whenever the guest notifies, yields, polls or blocks, so polled drivers work without events.
 */
import { bytes as bytesSchema, type Infer, integer, struct } from '../core/schema.ts';
import { PAGE_SIZE } from '../core/units.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { CONSOLE_RING } from './abi/structures.ts';
import { unitsOf, type WorkMeter } from './work.ts';

const RING = CONSOLE_RING.at;
const IN_BYTES = RING.out - RING.in;
const OUT_BYTES = RING.in_cons - RING.out;

export const consoleState = struct({
  /** Machine frame of the ring page, its port. */
  frame: integer,
  port: integer,
  /** Bytes typed that the guest has not taken yet. */
  input: bytesSchema,
  /** Bytes written so far: names a console position. */
  written: integer,
});
export type ConsoleState = Infer<typeof consoleState>;

export class Console {
  state: ConsoleState = { frame: 0, port: 0, input: new Uint8Array(0), written: 0 };
  /** Receives every byte the guest writes, in order, and whether it came by console_io or the ring. Not part of the state. */
  onOutput: (bytes: Uint8Array, way: 'call' | 'ring') => void = () => {};
  readonly #memory: GuestMemory;
  readonly #work: WorkMeter;
  readonly #notify: (port: number) => void;

  constructor(memory: GuestMemory, work: WorkMeter, notify: (port: number) => void) {
    this.#memory = memory;
    this.#work = work;
    this.#notify = notify;
  }

  output(bytes: Uint8Array, way: 'call' | 'ring' = 'call'): void {
    // who records a run keeps its output, shows it and looks for a panic in it: 0.1 to 0.3 us a byte
    this.#work.charge(bytes.length);
    this.state.written += bytes.length;
    if (bytes.length > 0) this.onOutput(bytes, way);
  }

  /** Appends typed bytes and hands the guest what fits. */
  type(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.state.input.length + bytes.length);
    joined.set(this.state.input);
    joined.set(bytes, this.state.input.length);
    this.state.input = joined;
    this.service();
  }

  /** Up to `count` waiting bytes (console_io read); they wait until {@link dropInput}. */
  peekInput(count: number): Uint8Array {
    return this.state.input.subarray(0, count);
  }
  dropInput(count: number): void {
    this.#work.charge(unitsOf(this.state.input.length));
    this.state.input = this.state.input.slice(count);
  }

  /** The guest uses the ring and has taken everything that was typed. */
  get drained(): boolean {
    const { frame, input } = this.state;
    if (input.length > 0 || frame === 0) return false;
    const word = (offset: number): number => this.#memory.read32(frame * PAGE_SIZE + offset);
    return word(RING.out_prod) !== 0 && word(RING.in_cons) === word(RING.in_prod);
  }

  /** Moves bytes between the ring and us in both directions; notifies the guest when something moved. */
  service(): void {
    const { frame, port } = this.state;
    if (frame === 0) return;
    const drained = this.#drain(frame * PAGE_SIZE);
    const fed = this.#feed(frame * PAGE_SIZE);
    if (drained || fed) this.#notify(port);
  }

  #drain(at: number): boolean {
    const cons = this.#memory.read32(at + RING.out_cons);
    const prod = this.#memory.read32(at + RING.out_prod);
    const count = (prod - cons) >>> 0;
    if (count === 0 || count > OUT_BYTES) return false;
    const out = new Uint8Array(count);
    const ring = this.#memory.readBytes(at + RING.out, OUT_BYTES);
    for (let i = 0; i < count; i++) out[i] = ring[(cons + i) % OUT_BYTES]!;
    this.#memory.write32(at + RING.out_cons, prod);
    this.output(out, 'ring');
    return true;
  }

  #feed(at: number): boolean {
    const { input } = this.state;
    if (input.length === 0) return false;
    const cons = this.#memory.read32(at + RING.in_cons);
    const prod = this.#memory.read32(at + RING.in_prod);
    const used = (prod - cons) >>> 0;
    if (used >= IN_BYTES) return false;
    const count = Math.min(input.length, IN_BYTES - used);
    this.#work.charge(unitsOf(input.length) + count);
    for (let i = 0; i < count; i++) this.#memory.write8(at + RING.in + ((prod + i) % IN_BYTES), input[i]!);
    this.#memory.write32(at + RING.in_prod, (prod + count) >>> 0);
    this.state.input = input.slice(count);
    return true;
  }
}
