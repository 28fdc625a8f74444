/**
 * A kind of platform: how a machine is built of a configuration, and what whoever runs it gets beside the machine. Recorder, replay,
 * sessions and searches know no more of a platform than this and its sockets (platform.ts, explanation.ts).
 *
 * Building is a pure function of the configuration: the state at tick 0 is the same wherever it is built, which is what lets a
 * recording leave it out.
 */
import type { Inflate } from '../core/inflate.ts';
import type { EngineOptions } from '../engine/engine.ts';
import type { MachineConfig } from './config.ts';
import type { Explanation } from './explanation.ts';
import type { Machine } from './machine.ts';

/** The guest's console as a recorder sees it, whatever ways lead there. */
export interface Terminal {
  /** Id of the device that what is typed goes to. */
  readonly device: string;
  /** Receives the guest's output as it comes. Not part of the state. */
  onOutput: (bytes: Uint8Array) => void;
  /** Bytes that the guest has written so far. */
  readonly written: number;
  /** The guest takes what is typed, and has taken all of it. */
  readonly drained: boolean;
  /** The guest writes no more: what was held back until it is known what follows. */
  endOfOutput(): Uint8Array;
}

export interface BuiltMachine {
  readonly machine: Machine;
  /** The kernel as an ELF file, for symbols. */
  readonly elf: Uint8Array;
  readonly terminal: Terminal;
  readonly explanation: Explanation;
}

export interface PlatformKind {
  readonly id: string;
  /** Names of the images that it is built of, those that may be absent among them. */
  readonly images: readonly string[];
  /** Why no machine is made from these numbers, whatever the images; null where one may be. */
  problem(config: Omit<MachineConfig, 'platform' | 'images' | 'cpuPolicy' | 'inflate'>): string | null;
  /** The kernel of a file as an ELF file, itself where it is one; E_IMAGE where it is none. */
  unpack(kernel: Uint8Array, inflate?: Inflate): Uint8Array;
  /** The machine at tick 0; E_IMAGE, E_PLATFORM or E_MEMORY for what cannot be. */
  build(config: MachineConfig, engine: EngineOptions): BuiltMachine;
}
