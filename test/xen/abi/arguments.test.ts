import { expect, test } from 'vitest';
import { ARGUMENTS64 } from '../../../src/xen/abi/arguments.ts';

// Expected values: gcc -m64 on the public headers of Xen 4.17.7. Fields at offset 0 are left out.
const EXPECTED: Record<keyof typeof ARGUMENTS64, readonly [bytes: number, offsets: Record<string, number>]> = {
  callbackRegister: [16, { flags: 2, address: 8 }],
  callbackUnregister: [4, {}],
  bindInterdomain: [12, { remote_port: 4, local_port: 8 }],
  bindVirq: [12, { vcpu: 4, port: 8 }],
  bindPirq: [12, { port: 8 }],
  bindIpi: [8, { port: 4 }],
  bindVcpu: [8, { vcpu: 4 }],
  allocUnbound: [8, { remote_dom: 2, port: 4 }],
  eventPort: [4, {}],
  eventStatus: [24, { port: 4, status: 8, vcpu: 12, detail: 16, detail_port: 20 }],
  eventReset: [2, {}],
  eventInitControl: [24, { offset: 8, vcpu: 12, link_bits: 16 }],
  eventExpandArray: [8, {}],
  eventSetPriority: [8, { priority: 4 }],
  grantSetupTable: [24, { nr_frames: 4, status: 8, frame_list: 16 }],
  grantDumpTable: [4, { status: 2 }],
  grantQuerySize: [16, { nr_frames: 4, max_nr_frames: 8, status: 12 }],
  grantSetVersion: [4, {}],
  grantGetVersion: [8, { version: 4 }],
  grantMap: [32, { flags: 8, ref: 12, dom: 16, status: 18, handle: 20, dev_bus_addr: 24 }],
  grantUnmap: [24, { dev_bus_addr: 8, handle: 16, status: 20 }],
  grantCopy: [
    40,
    {
      source_domid: 8,
      source_offset: 10,
      dest_frame: 16,
      dest_domid: 24,
      dest_offset: 26,
      len: 32,
      flags: 34,
      status: 36,
    },
  ],
  grantSwap: [12, { ref_b: 4, status: 8 }],
  grantCacheFlush: [16, { offset: 8, length: 10, op: 12 }],
  setIopl: [4, {}],
  setIobitmap: [16, { nr_ports: 8 }],
  pirqEoiGmfn: [8, {}],
  schedShutdown: [4, {}],
  schedPoll: [24, { nr_ports: 8, timeout: 16 }],
  schedWatchdog: [8, { timeout: 4 }],
  registerRunstate: [8, {}],
  registerVcpuInfo: [16, { offset: 8 }],
  setPeriodicTimer: [8, {}],
  setSingleshotTimer: [16, { flags: 8 }],
  featureInfo: [8, { submap: 4 }],
};

test('[F-amd64] the argument structures are as a C compiler lays them out', () => {
  for (const [name, [bytes, offsets]] of Object.entries(EXPECTED)) {
    const layout = ARGUMENTS64[name as keyof typeof ARGUMENTS64];
    expect({ name, bytes: layout.bytes, at: layout.at }).toMatchObject({ name, bytes, at: offsets });
  }
});
