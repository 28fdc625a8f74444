/**
 * The structures that hypercalls take by pointer, each declared once for both word sizes. Source: the headers of
 * xen/include/public named beside each group.
 */
import { layout, type WordBytes } from './layout.ts';

/** Those of grant_table.h. */
function grantArguments(word: WordBytes) {
  return {
    grantSetupTable: layout(word, { dom: 'u16', nr_frames: 'u32', status: 'u16', frame_list: 'word' }),
    grantDumpTable: layout(word, { dom: 'u16', status: 'u16' }),
    grantQuerySize: layout(word, { dom: 'u16', nr_frames: 'u32', max_nr_frames: 'u32', status: 'u16' }),
    grantSetVersion: layout(word, { version: 'u32' }),
    grantGetVersion: layout(word, { dom: 'u16', pad: 'u16', version: 'u32' }),
    grantMap: layout(word, {
      host_addr: 'u64',
      flags: 'u32',
      ref: 'u32',
      dom: 'u16',
      status: 'u16',
      handle: 'u32',
      dev_bus_addr: 'u64',
    }),
    grantUnmap: layout(word, { host_addr: 'u64', dev_bus_addr: 'u64', handle: 'u32', status: 'u16' }),
    grantCopy: layout(word, {
      source_frame: 'u64',
      source_domid: 'u16',
      source_offset: 'u16',
      dest_frame: 'u64',
      dest_domid: 'u16',
      dest_offset: 'u16',
      dest_pad: 'u32',
      len: 'u16',
      flags: 'u16',
      status: 'u16',
    }),
    grantSwap: layout(word, { ref_a: 'u32', ref_b: 'u32', status: 'u16' }),
    grantCacheFlush: layout(word, { address: 'u64', offset: 'u16', length: 'u16', op: 'u32' }),
  };
}

/** Every argument structure for one word size. */
function hypercallArguments(word: WordBytes) {
  return {
    // callback.h
    callbackRegister: layout(word, { type: 'u16', flags: 'u16', address: 'word' }),
    callbackUnregister: layout(word, { type: 'u16', unused: 'u16' }),
    // event_channel.h
    bindInterdomain: layout(word, { remote_dom: 'u16', remote_port: 'u32', local_port: 'u32' }),
    bindVirq: layout(word, { virq: 'u32', vcpu: 'u32', port: 'u32' }),
    bindPirq: layout(word, { pirq: 'u32', flags: 'u32', port: 'u32' }),
    bindIpi: layout(word, { vcpu: 'u32', port: 'u32' }),
    bindVcpu: layout(word, { port: 'u32', vcpu: 'u32' }),
    allocUnbound: layout(word, { dom: 'u16', remote_dom: 'u16', port: 'u32' }),
    /** close, send and unmask. */
    eventPort: layout(word, { port: 'u32' }),
    /** `detail` is the union: {u16 dom, u32 port} of an interdomain channel, u16 dom of an unbound one, u32 virq. */
    eventStatus: layout(word, {
      dom: 'u16',
      port: 'u32',
      status: 'u32',
      vcpu: 'u32',
      detail: 'u32',
      detail_port: 'u32',
    }),
    eventReset: layout(word, { dom: 'u16' }),
    eventInitControl: layout(word, { control_gfn: 'u64', offset: 'u32', vcpu: 'u32', link_bits: 'u8', pad: ['u8', 7] }),
    eventExpandArray: layout(word, { array_gfn: 'u64' }),
    eventSetPriority: layout(word, { port: 'u32', priority: 'u32' }),
    ...grantArguments(word),
    // physdev.h
    setIopl: layout(word, { iopl: 'u32' }),
    setIobitmap: layout(word, { bitmap: 'word', nr_ports: 'u32' }),
    pirqEoiGmfn: layout(word, { gmfn: 'word' }),
    // sched.h
    schedShutdown: layout(word, { reason: 'u32' }),
    schedPoll: layout(word, { ports: 'word', nr_ports: 'u32', timeout: 'u64' }),
    schedWatchdog: layout(word, { id: 'u32', timeout: 'u32' }),
    // vcpu.h
    registerRunstate: layout(word, { address: 'u64' }),
    registerVcpuInfo: layout(word, { mfn: 'u64', offset: 'u32', reserved: 'u32' }),
    setPeriodicTimer: layout(word, { period_ns: 'u64' }),
    setSingleshotTimer: layout(word, { timeout_abs_ns: 'u64', flags: 'u32' }),
    // version.h
    featureInfo: layout(word, { submap_idx: 'u32', submap: 'u32' }),
  };
}

/** The argument structures of an amd64 guest. */
export const ARGUMENTS64 = hypercallArguments(8);
