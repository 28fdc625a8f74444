/** The IDT machine as a kind of platform. What is typed is lost: nothing of it receives. */
import { PAGE_SIZE } from '../../core/units.ts';
import { imageOf } from '../config.ts';
import { UNEXPLAINED } from '../explanation.ts';
import type { PlatformKind, Terminal } from '../platform-kind.ts';
import { buildIdtMachine } from './build.ts';

class IdtTerminal implements Terminal {
  readonly device = 'com1';
  onOutput: Terminal['onOutput'] = () => {};
  written = 0;
  readonly drained = false;

  readonly write = (byte: number): void => {
    this.written++;
    this.onOutput(Uint8Array.of(byte));
  };
  endOfOutput(): Uint8Array {
    return new Uint8Array(0);
  }
}

/** Memory below 4 GiB, beside what the engine needs (src/memory/layout.ts). */
const MEMORY_BYTES_MAX = 1 << 30;

export const IDT: PlatformKind = {
  id: 'idt',
  images: ['kernel'],
  problem({ memoryBytes, vcpus }) {
    if (vcpus !== 1) return 'it has one vCPU';
    const fits = memoryBytes >= 1 << 20 && memoryBytes <= MEMORY_BYTES_MAX && memoryBytes % PAGE_SIZE === 0;
    return fits ? null : 'its memory is whole pages, from 1 MiB to 1 GiB';
  },
  unpack: (kernel) => kernel,
  build(config, engine) {
    const kernel = imageOf(config, 'kernel');
    const terminal = new IdtTerminal();
    const { memoryBytes, tscKhz, cpuPolicy } = config;
    const machine = buildIdtMachine(
      { kernel, memoryBytes, tscKhz },
      { engine: { ...engine, policy: cpuPolicy }, write: terminal.write },
    );
    return { machine, elf: kernel, terminal, explanation: UNEXPLAINED };
  },
};
