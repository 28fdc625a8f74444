/** The console of a PV domain as one stream: the calls of an early console and the ring end in one place, a line said by both once. */
import type { Console } from '../../devices/console/console.ts';
import type { Terminal } from '../platform-kind.ts';
import { ConsoleMerge } from './console-merge.ts';

export class PvTerminal implements Terminal {
  readonly device: string;
  onOutput: Terminal['onOutput'] = () => {};
  readonly #console: Console;
  readonly #merge = new ConsoleMerge();

  constructor(console: Console) {
    this.#console = console;
    this.device = console.id;
    console.onOutput = (bytes, way) => {
      const told = this.#merge.add(way, bytes);
      if (told.length > 0) this.onOutput(told);
    };
  }
  get written(): number {
    return this.#console.state.written;
  }
  get drained(): boolean {
    return this.#console.drained;
  }
  endOfOutput(): Uint8Array {
    return this.#merge.rest();
  }
}
