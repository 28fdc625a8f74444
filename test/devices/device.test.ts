/** What every device is, by two of them in one host. */
import { expect, test } from 'vitest';
import { Console } from '../../src/devices/console/console.ts';
import { giveInput } from '../../src/devices/device.ts';
import { XenStore } from '../../src/devices/xenstore/xenstore.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { errorOf } from '../support/error.ts';

const host = {
  memory: new GuestMemory({ vcpus: 1, slots: 2, frameLimit: 8, recordBytes: 0 }),
  charge: () => {},
  notify: () => {},
};

test('a payload reaches the device that it names; one that names no device or one without input is refused', () => {
  const console = new Console(host);
  const devices = [new XenStore(host), console];
  giveInput(devices, 'console', Uint8Array.of(0x61));
  expect(console.peekInput(9)).toEqual(Uint8Array.of(0x61));
  for (const id of ['xenstore', 'disk', ''])
    expect(errorOf(() => giveInput(devices, id, Uint8Array.of(1)))).toBe(
      `E_RECORDING: no device of the machine takes input as "${id}"`,
    );
});

test('what a device remembers goes through its section, whole', () => {
  const one = new Console(host);
  const other = new Console(host);
  one.input(Uint8Array.of(1, 2, 3));
  one.output(Uint8Array.of(4));
  other.section.decode(one.section.encode());
  expect(other.state).toEqual(one.state);
  expect(other.section.encode()).toEqual(one.section.encode());
});
