/**
 * The PV console (D-52): a ring page, and calls of the platform beside it, both directions.
 *
 * Invariants: nothing the guest wrote is dropped; input waits in `input` until the ring has room; the backend looks at the
 * ring whenever the guest notifies, yields, polls or blocks, so polled drivers work without events.
 */
import { bytes as bytesSchema, type Infer, integer, struct } from '../../core/schema.ts';
import { sectionOf } from '../../core/state-section.ts';
import { type MachineFrame, PAGE_SIZE } from '../../core/units.ts';
import { unitsOf } from '../../core/work.ts';
import type { Device, DeviceHost } from '../device.ts';
import { IN_BYTES, OUT_BYTES, RING } from './ring.ts';

export const consoleState = struct({
  /** Machine frame of the ring page (0: not attached), its port. */
  frame: integer,
  port: integer,
  /** Bytes typed that the guest has not taken yet. */
  input: bytesSchema,
  /** Bytes written so far: names a console position. */
  written: integer,
});
export type ConsoleState = Infer<typeof consoleState>;

export class Console implements Device {
  readonly id = 'console';
  readonly section = sectionOf(this.id, consoleState, this);
  state: ConsoleState = { frame: 0, port: 0, input: new Uint8Array(0), written: 0 };
  /** Receives every byte the guest writes, in order, and whether it came by a call or the ring. Not part of the state. */
  onOutput: (bytes: Uint8Array, way: 'call' | 'ring') => void = () => {};
  readonly #host: DeviceHost;

  constructor(host: DeviceHost) {
    this.#host = host;
  }

  /** Takes the ring page at machine frame `frame`, of which the guest hears at its port `port`. */
  attach(frame: MachineFrame, port: number): void {
    this.state.frame = frame;
    this.state.port = port;
  }

  output(bytes: Uint8Array, way: 'call' | 'ring' = 'call'): void {
    // who records a run keeps its output, shows it and looks for a panic in it: 0.1 to 0.3 us a byte
    this.#host.charge(bytes.length);
    this.state.written += bytes.length;
    if (bytes.length > 0) this.onOutput(bytes, way);
  }

  /** Appends typed bytes and hands the guest what fits. */
  input(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.state.input.length + bytes.length);
    joined.set(this.state.input);
    joined.set(bytes, this.state.input.length);
    this.state.input = joined;
    this.service();
  }

  /** Up to `count` waiting bytes; they wait until {@link dropInput}. */
  peekInput(count: number): Uint8Array {
    return this.state.input.subarray(0, count);
  }
  dropInput(count: number): void {
    this.#host.charge(unitsOf(this.state.input.length));
    this.state.input = this.state.input.slice(count);
  }

  /** Bytes written so far. */
  get written(): number {
    return this.state.written;
  }
  /** The guest uses the ring and has taken everything that was typed. */
  get drained(): boolean {
    const { memory } = this.#host;
    const { frame, input } = this.state;
    if (input.length > 0 || frame === 0) return false;
    const word = (offset: number): number => memory.read32(frame * PAGE_SIZE + offset);
    return word(RING.outProd) !== 0 && word(RING.inCons) === word(RING.inProd);
  }

  /** {@link Console.service} would find nothing to move. */
  get isQuiet(): boolean {
    const { frame, input } = this.state;
    const word = (offset: number): number => this.#host.memory.read32(frame * PAGE_SIZE + offset);
    return frame === 0 || (input.length === 0 && word(RING.outProd) === word(RING.outCons));
  }

  /** Moves bytes between the ring and us in both directions; notifies the guest when something moved. */
  service(): void {
    const { frame, port } = this.state;
    if (frame === 0) return;
    const drained = this.#drain(frame * PAGE_SIZE);
    const fed = this.#feed(frame * PAGE_SIZE);
    if (drained || fed) this.#host.notify(port);
  }

  #drain(at: number): boolean {
    const { memory } = this.#host;
    const cons = memory.read32(at + RING.outCons);
    const prod = memory.read32(at + RING.outProd);
    const count = (prod - cons) >>> 0;
    if (count === 0 || count > OUT_BYTES) return false;
    const out = new Uint8Array(count);
    const ring = memory.readBytes(at + RING.out, OUT_BYTES);
    for (let i = 0; i < count; i++) out[i] = ring[(cons + i) % OUT_BYTES]!;
    memory.write32(at + RING.outCons, prod);
    this.output(out, 'ring');
    return true;
  }

  #feed(at: number): boolean {
    const { memory } = this.#host;
    const { input } = this.state;
    if (input.length === 0) return false;
    const cons = memory.read32(at + RING.inCons);
    const prod = memory.read32(at + RING.inProd);
    const used = (prod - cons) >>> 0;
    if (used >= IN_BYTES) return false;
    const count = Math.min(input.length, IN_BYTES - used);
    this.#host.charge(unitsOf(input.length) + count);
    for (let i = 0; i < count; i++) memory.write8(at + RING.in + ((prod + i) % IN_BYTES), input[i]!);
    memory.write32(at + RING.inProd, (prod + count) >>> 0);
    this.state.input = input.slice(count);
    return true;
  }
}
