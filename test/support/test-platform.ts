/**
 * A platform for tests: a CPU in flat 32-bit mode without paging, which runs a program of plain bytes, and a mailbox. OUT to port 0x10
 * rings it, to 0x11 ends the run, to 0x12 asks for what the word REQUEST says, of which the board grants 0 alone. HLT sleeps until the mailbox notifies; delivery is a step that puts the notified port into EDX.
 */
import { bool, integer, optional, struct } from '../../src/core/schema.ts';
import { sectionOf } from '../../src/core/state-section.ts';
import { giveInput } from '../../src/devices/device.ts';
import { Engine } from '../../src/engine/engine.ts';
import { imageOf } from '../../src/machine/config.ts';
import { type Explanation, type Question, UNEXPLAINED } from '../../src/machine/explanation.ts';
import { IdtPlatform, startFlat } from '../../src/machine/idt/build.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { MachineEvent, MachinePlatform } from '../../src/machine/platform.ts';
import type { PlatformKind } from '../../src/machine/platform-kind.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { type Outcome, stop } from '../../src/x86/seam.ts';
import { GPR } from '../../src/x86/state.ts';
import { Mailbox } from './test-device.ts';

const START = 0x1000;
/** Machine address of the word, and the flag that a guest clears to take its mail. */
const REQUEST = 0x3010;
const FULL = 0x3008;

class Board extends IdtPlatform {
  readonly mailbox: Mailbox;
  readonly line = { state: { asleep: false, notified: null as number | null } };
  override readonly sections: MachinePlatform['sections'];

  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    super();
    this.#memory = memory;
    this.mailbox = new Mailbox({
      memory,
      charge: (units) => void (this.work.total += units),
      notify: (port) => {
        this.line.state = { asleep: false, notified: port };
        this.stream.tell({ kind: 'mail', port } as MachineEvent);
      },
    });
    const schema = struct({ asleep: bool, notified: optional(integer) });
    this.sections = [sectionOf('line', schema, this.line), this.mailbox.section];
  }
  override runnable(): boolean {
    return !this.line.state.asleep;
  }
  override hasPending(): boolean {
    return this.line.state.notified !== null;
  }
  override deliverPending(cpu: Cpu): { outcome: Outcome } | null {
    const { notified } = this.line.state;
    if (notified === null) return null;
    cpu.setGpr32(GPR.rdx, notified);
    this.line.state.notified = null;
    return { outcome: null };
  }
  override input(device: string, data: Uint8Array): void {
    giveInput([this.mailbox], device, data);
  }
  override portOut(_cpu: Cpu, port: number): Outcome {
    if (port === 0x10) {
      this.mailbox.service();
      this.stream.tell({ kind: 'ring' });
    }
    if (port === 0x12 && this.#memory.read32(REQUEST) !== 0) {
      this.stream.tell({ kind: 'refused' });
      return stop('crash', 'the board refused a request');
    }
    return port === 0x11 ? stop('poweroff', 'the program ended') : null;
  }
  override halt(): Outcome {
    this.line.state.asleep = true;
    return null;
  }
}

/**
 * The board tells of mail, by its port, and of what it refuses; `full(0)` asks for the mailbox's flag, which is memory, `rings(0)` how often
 * it was rung, which is none.
 */
const explanationOf = ({ mailbox }: Board): Explanation => ({
  ...UNEXPLAINED,
  heard: ['mail', 'refused'],
  kinds: [
    { kind: 'mail', names: false },
    { kind: 'refused', names: false },
  ],
  eventFields: (name) => (name === 'mail' ? ['port'] : name === 'refused' ? [] : null),
  decode: (event, { vcpu, rip }) => {
    const { kind, port } = event as MachineEvent & { port?: number };
    return [{ vcpu, rip, kind, name: kind, fields: port === undefined ? {} : { port: BigInt(port) }, text: null }];
  },
  questions: new Map<string, Question>([
    ['rings', { limit: 1n, answers: 1000n, changes: ['ring'], ask: () => BigInt(mailbox.written) }],
    [
      'full',
      {
        limit: 1n,
        answers: 1n,
        ask: (_of, look) => {
          look.note(FULL, 1);
          return look.read('ma', BigInt(FULL), 1);
        },
      },
    ],
  ]),
  refusal: ({ kind }) => (kind === 'refused' ? { error: 'no', isCascade: () => false } : null),
  blame: (_event, _log, look) => ({
    place: { space: 'ma', address: BigInt(REQUEST) },
    bytes: 4,
    text: `the request is ${look.read('ma', BigInt(REQUEST), 4)}`,
    guilty: ({ after }) => after !== 0n,
  }),
});

export const BOARD: PlatformKind = {
  id: 'board',
  images: ['program'],
  problem: ({ vcpus }) => (vcpus === 1 ? null : 'a board has one vCPU'),
  unpack: (program) => program,
  build(config, options) {
    const program = imageOf(config, 'program');
    const slots = config.memoryBytes / 4096;
    const memory = new GuestMemory({ vcpus: 1, slots, frameLimit: slots, recordBytes: 1 << 20 });
    for (let frame = 0; frame < slots; frame++) memory.addFrame(frame);
    memory.writeBytes(START, program);
    const engine = new Engine(memory, { ...options, policy: config.cpuPolicy });
    const board = new Board(memory);
    const machine = new Machine(engine, board, config.tscKhz);
    startFlat(machine.cpu, START);
    return { machine, elf: program, terminal: board.mailbox, explanation: explanationOf(board) };
  },
};
