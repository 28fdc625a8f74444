/**
 * The machine's state outside guest memory, as named sections of canonical bytes: what snapshots keep and hashes cover.
 */
import { hash128 } from '../core/hash128.ts';
import { decode, encode } from '../core/schema.ts';
import type { StateSection } from '../core/state-section.ts';
import { decodeCpu, encodeCpu } from '../x86/cpu-state.ts';
import { loopState, type Machine } from './machine.ts';

/** Section name to bytes; the order is part of nothing. */
export type Sections = ReadonlyMap<string, Uint8Array>;

/** The hash of a section's state. */
export const sectionHash = (section: StateSection, seed: number): bigint =>
  section.hash?.(seed) ?? hash128(section.encode(), seed);

/** All sections of a machine, in a fixed order: loop, vCPUs, then what the platform declares. */
export function sectionsOf(machine: Machine): StateSection[] {
  const loop: StateSection = {
    name: 'loop',
    encode: () => encode(loopState, machine.loop),
    decode: (bytes) => {
      machine.loop = decode(loopState, bytes);
    },
  };
  const cpus = machine.engine.cpus.map(
    (cpu): StateSection => ({
      name: `cpu${cpu.id}`,
      encode: () => encodeCpu(cpu),
      decode: (bytes) => decodeCpu(cpu, bytes),
    }),
  );
  return [loop, ...cpus, ...machine.platform.sections];
}
