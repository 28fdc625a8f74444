/**
 * A machine together with what follows it: page hashes, page versions, console log. Recording, replay and sessions all
 * drive one of these.
 */
import { EmulatorError } from '../core/errors.ts';
import { PAGE_SIZE, type Tick } from '../core/units.ts';
import type { EngineOptions } from '../engine/engine.ts';
import type { MachineConfig } from '../machine/config.ts';
import type { Explanation } from '../machine/explanation.ts';
import type { Machine, RunEnd, RunOptions } from '../machine/machine.ts';
import type { Terminal } from '../machine/platform-kind.ts';
import { kindOf, PLATFORMS } from '../machine/platforms.ts';
import type { Sections } from '../machine/state.ts';
import { StateTracker } from '../machine/tracker.ts';
import { CONSOLE_SECTION, ConsoleLog } from './console-log.ts';
import type { SnapshotPage, StoredSnapshot } from './trace-store.ts';

/** Version of everything that decides what a step does; recordings of another one are refused. */
export const SEMANTICS_VERSION = 7;
/** Ticks that a machine runs at most before its host is asked. */
export const SLICE_TICKS = 2 ** 22;
/** Ticks after which whoever follows a recording looks up: a guest that keeps changing its code takes a second for a million. */
export const BREATH_TICKS = 2 ** 18;
/** Units of the platform's work (src/core/work.ts) after which the host is asked too: one call can do as much. */
const SLICE_WORK = 2 ** 18;
/** Ticks between register digests: a whole number of slices. */
export const DIGEST_TICKS = 2 ** 24;
/** Ticks between blocks of the journal at most, each with the hash of the whole state: a whole number of digests. */
export const BLOCK_TICKS = 2 ** 30;

/** The 16 bytes of `hash` from `from` on stand at `at`. */
function isSame(hash: Uint8Array, bytes: Uint8Array, at: number, from = 0): boolean {
  for (let i = 0; i < 16; i++) if (hash[from + i] !== bytes[at + i]) return false;
  return true;
}

export class Run {
  readonly config: MachineConfig;
  readonly machine: Machine;
  readonly explanation: Explanation;
  readonly terminal: Terminal;
  readonly tracker: StateTracker;
  readonly console = new ConsoleLog();
  /** The unpacked kernel. */
  readonly elf: Uint8Array;
  /** Page hashes as of the last sync, a live view, and those of the machine as built; 16 bytes a slot. */
  readonly #hashes: Uint8Array;
  readonly #builtHashes: Uint8Array;
  /** Receives the guest's output as it comes. */
  onOutput: (data: Uint8Array) => void = () => {};

  /** The machine of `config`, on the platform that this names. */
  constructor(config: MachineConfig, engine: EngineOptions = {}, platforms = PLATFORMS) {
    const built = kindOf(config.platform, platforms).build(config, { tier: 'hot', ...engine });
    const { machine, terminal } = built;
    this.config = config;
    this.machine = machine;
    this.terminal = terminal;
    this.explanation = built.explanation;
    this.elf = built.elf;
    this.tracker = new StateTracker(machine);
    const { bytes, map, slotCount } = machine.engine.memory;
    this.#hashes = bytes.subarray(map.slotHashes, map.slotHashes + slotCount * 16);
    this.#builtHashes = this.#hashes.slice();
    terminal.onOutput = (data) => {
      this.console.add(machine.visibleAt, data);
      this.onOutput(data);
    };
  }

  /** Nothing more is to be told, whatever runs on or again: tells what was held back. */
  endOfOutput(): void {
    const rest = this.terminal.endOfOutput();
    if (rest.length > 0) this.onOutput(rest);
    this.onOutput = () => {};
  }

  get tick(): Tick {
    return this.machine.tick;
  }
  runTo(tick: Tick, options: RunOptions = {}): RunEnd {
    const end = this.machine.runTo(tick, options);
    this.console.reached(this.machine.tick);
    return end;
  }
  /** Runs towards `tick`, but comes back with `limit` after {@link SLICE_WORK} as well: what a host calls that has to react. */
  slice(tick: Tick, options: RunOptions = {}): RunEnd {
    return this.runTo(tick, { workLimit: SLICE_WORK, ...options });
  }
  stateHash(): bigint {
    return this.tracker.stateHash();
  }

  // ---- stored snapshots ---------------------------------------------------------------------------------------------

  /** Page and hash of a slot as of the last sync, as live views. */
  page(slot: number): SnapshotPage {
    const { memory } = this.machine.engine;
    const at = memory.slotAddress(slot);
    return {
      slot,
      hash: this.#hashes.subarray(slot * 16, slot * 16 + 16),
      bytes: memory.bytes.subarray(at, at + PAGE_SIZE),
    };
  }
  /** The hash of a slot's page is what it was in the machine as built. */
  isAsBuilt({ slot, hash }: SnapshotPage): boolean {
    return isSame(hash, this.#builtHashes, slot * 16);
  }
  /** By slot 1 where the page is what it was in the machine as built, as of the last sync. */
  untouched(): Uint8Array {
    const out = new Uint8Array(this.machine.engine.memory.slotCount);
    for (let slot = 0; slot < out.length; slot++)
      if (isSame(this.#builtHashes, this.#hashes, slot * 16, slot * 16)) out[slot] = 1;
    return out;
  }
  /** State sections and the console log; `reuse` as in StateSection.encode. */
  sections(reuse?: Sections): Map<string, Uint8Array> {
    return new Map([...this.tracker.capture(reuse), [CONSOLE_SECTION, this.console.encode()]]);
  }
  /** Takes over what a snapshot knows of the console; E_RECORDING where that is malformed. */
  recall(snapshot: StoredSnapshot): void {
    const log = snapshot.sections.get(CONSOLE_SECTION);
    if (log === undefined) return;
    try {
      this.console.load(log);
    } catch (error) {
      throw noState(snapshot.tick, error);
    }
  }
  /**
   * Puts the machine into a stored state; `built` gives the pages of the machine as built. E_RECORDING where it is none of this
   * machine, or not the one that its hash says: what the machine holds then is nothing.
   */
  restore(snapshot: StoredSnapshot, built: (slot: number) => Uint8Array): void {
    this.tracker.sync();
    const { memory } = this.machine.engine;
    for (let slot = 0; slot < memory.slotCount; slot++) {
      const stored = snapshot.pageHash(slot);
      if (isSame(stored ?? this.#builtHashes.subarray(slot * 16, slot * 16 + 16), this.#hashes, slot * 16)) continue;
      const page = stored === null ? built(slot) : snapshot.page(slot)!;
      memory.bytes.set(page, memory.willWrite(memory.slotFrames[slot]! * PAGE_SIZE, PAGE_SIZE));
    }
    this.recall(snapshot);
    try {
      this.tracker.restore(snapshot.sections);
    } catch (error) {
      throw noState(snapshot.tick, error);
    }
    if (this.tick !== snapshot.tick || this.stateHash() !== snapshot.stateHash)
      throw noState(snapshot.tick, new RangeError('its tick or its hash is another'));
  }
}

/** A snapshot's sections, its hashes whole, are no state of this machine. */
const noState = (tick: Tick, cause: unknown): EmulatorError =>
  new EmulatorError(
    'E_RECORDING',
    `the snapshot at tick ${tick} is no state of this machine: ${(cause as Error).message}`,
    {
      cause,
    },
  );
