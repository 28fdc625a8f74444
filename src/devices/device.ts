/**
 * What a device is: a back end that a guest reaches through its memory and a port, whatever platform it sits in.
 *
 * Invariants: a device knows neither hypervisor nor engine nor host. It acts when it is served or given input, each a moment of the
 * machine's own; everything it remembers is in its section; what comes from outside is a payload of the journal, under its id.
 */
import { EmulatorError } from '../core/errors.ts';
import type { StateSection } from '../core/state-section.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';

/** What a device may ask of the platform that it sits in. */
export interface DeviceHost {
  readonly memory: GuestMemory;
  /** Counts units of work (src/core/work.ts). */
  charge(units: number): void;
  /** Tells the guest, at the port on which it listens, that there is something for it. */
  notify(port: number): void;
}

export interface Device {
  /** Names it in payloads, and its section. */
  readonly id: string;
  readonly section: StateSection;
  /** Takes a payload; absent where nothing comes from outside. */
  input?(data: Uint8Array): void;
  /** Looks at what the guest has left for it: called when the guest notifies or waits. */
  service(): void;
  /** {@link Device.service} would find nothing to do. */
  readonly isQuiet: boolean;
}

/** Hands a payload to the device that it names; E_RECORDING where no such device takes any, which only a journal can bring about. */
export function giveInput(devices: readonly Device[], id: string, data: Uint8Array): void {
  const device = devices.find((one) => one.id === id);
  if (device?.input === undefined)
    throw new EmulatorError('E_RECORDING', `no device of the machine takes input as ${JSON.stringify(id)}`);
  device.input(data);
}
