/**
 * A device for tests: a mailbox of two bytes in a page of the guest's. The guest writes a byte and rings; a byte for the guest stands
 * beside a flag, which the guest clears when it has taken it.
 */
import { bytes, integer, struct } from '../../src/core/schema.ts';
import { sectionOf } from '../../src/core/state-section.ts';
import type { Device, DeviceHost } from '../../src/devices/device.ts';
import type { Terminal } from '../../src/machine/platform-kind.ts';

/** Machine address of the page, and what stands in it. */
const PAGE = 0x3000;
const AT = { out: PAGE, in: PAGE + 4, full: PAGE + 8 } as const;
export const PORT = 5;

const mailboxState = struct({ waiting: bytes, written: integer });

export class Mailbox implements Device, Terminal {
  readonly id = 'mailbox';
  readonly section = sectionOf(this.id, mailboxState, this);
  state = { waiting: new Uint8Array(0), written: 0 };
  readonly device = this.id;
  onOutput: Terminal['onOutput'] = () => {};
  readonly #host: DeviceHost;

  constructor(host: DeviceHost) {
    this.#host = host;
  }
  input(data: Uint8Array): void {
    this.state.waiting = Uint8Array.of(...this.state.waiting, ...data);
    this.#feed();
  }
  service(): void {
    this.state.written++;
    this.#host.charge(1);
    this.onOutput(Uint8Array.of(this.#host.memory.read8(AT.out)));
    this.#feed();
  }
  #feed(): void {
    const { memory, notify } = this.#host;
    const [next, ...rest] = this.state.waiting;
    if (next === undefined || memory.read8(AT.full) !== 0) return;
    memory.write8(AT.in, next);
    memory.write8(AT.full, 1);
    this.state.waiting = Uint8Array.from(rest);
    notify(PORT);
  }
  readonly isQuiet = false;
  get written(): number {
    return this.state.written;
  }
  get drained(): boolean {
    return this.state.waiting.length === 0;
  }
  endOfOutput(): Uint8Array {
    return new Uint8Array(0);
  }
}
