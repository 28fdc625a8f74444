/** Calls outside of memory management: events, time, scheduling, registers, the console and what is only asked. */
import { ARGUMENTS64 as ARG } from '../../../src/xen/abi/arguments.ts';
import {
  CALLBACKOP,
  CALLBACKTYPE,
  CONSOLEIO,
  DOMID,
  EVTCHNOP,
  GNTTABOP,
  HYPERCALL,
  PHYSDEVOP,
  SCHEDOP,
  SEGBASE,
  VCPUOP,
  VMASST,
  XENVER,
} from '../../../src/xen/abi/numbers.ts';
import { CONSOLE_PORT, XENSTORE_PORT } from '../../../src/xen/domain-builder.ts';
import { HYPERCALLS } from '../../../src/xen/hypercalls/table.ts';
import { CHANNEL } from '../../../src/xen/pv/events.ts';
import { concat, le } from '../../support/elf.ts';
import { HANDLER, STACK, words } from '../../support/pv-guest.ts';
import { bytesOf, type Made, type Maker } from './maker.ts';
import { callName } from './operations.ts';
import { FRAME, TRAPS } from './world.ts';

const keys = <T extends string>(table: Readonly<Record<T, number>>): T[] => Object.keys(table) as T[];
const made = (call: keyof typeof HYPERCALL, args: ReadonlyArray<bigint | number>, sub?: string): Made => ({
  op: HYPERCALL[call],
  args: args.map((x) => BigInt.asUintN(64, BigInt(x))),
  names: [sub === undefined ? call : `${call}/${sub}`],
});
/** An address that the kernel can be entered at. */
const handler = (m: Maker): bigint => (m.dice.chance(97) ? HANDLER : m.dice.wide());
const self = (m: Maker): number => (m.dice.chance(94) ? DOMID.SELF : m.dice.pick([0, 1, 2, 77, DOMID.IO]));
const cpu0 = (m: Maker): number => (m.dice.chance(95) ? 0 : m.dice.pick([1, 31, 32, 2 ** 31, 2 ** 32 - 1]));

// ---- events ---------------------------------------------------------------------------------------------------------

/** A port of a state, or any. */
function port(m: Maker, wanted?: (state: number) => boolean): number {
  const { channels } = m.world.guest.xen.events.state;
  if (wanted !== undefined && m.dice.chance(85))
    for (let tries = 0; tries < 64; tries++) {
      const at = m.dice.below(channels.length);
      if (wanted(channels[at]!.state)) return at;
    }
  return m.dice.chance(90)
    ? m.dice.below(Math.min(channels.length, 24))
    : m.dice.pick([64, 1023, 1024, 4096, 2 ** 32 - 1]);
}
const open = (state: number): boolean => state !== CHANNEL.closed;

/** The sub-operation's argument. */
function eventArgument(m: Maker, name: keyof typeof EVTCHNOP): Uint8Array {
  const { dice } = m;
  switch (name) {
    case 'bind_interdomain':
      return bytesOf(ARG.bindInterdomain, { remote_dom: self(m), remote_port: port(m, (x) => x === CHANNEL.unbound) });
    case 'bind_virq':
      return bytesOf(ARG.bindVirq, { virq: dice.below(26), vcpu: cpu0(m) });
    case 'bind_pirq':
      return bytesOf(ARG.bindPirq, { pirq: dice.below(20) });
    case 'bind_ipi':
      return bytesOf(ARG.bindIpi, { vcpu: cpu0(m) });
    case 'bind_vcpu':
      return bytesOf(ARG.bindVcpu, { port: port(m, (x) => x === CHANNEL.unbound), vcpu: cpu0(m) });
    case 'alloc_unbound':
      return bytesOf(ARG.allocUnbound, { dom: self(m), remote_dom: dice.pick([0, 1, DOMID.SELF]) });
    case 'status':
      return bytesOf(ARG.eventStatus, { dom: self(m), port: port(m) });
    case 'reset':
      return bytesOf(ARG.eventReset, { dom: self(m) });
    case 'close':
      // the back ends' ports and the timer's stay most of the time
      return bytesOf(ARG.eventPort, { port: dice.chance(97) ? Math.max(port(m, open), 4) : port(m) });
    default:
      return concat(bytesOf(ARG.eventPort, { port: port(m, open) }), words(dice.wide(), dice.wide()));
  }
}
export function eventOp(m: Maker): Made {
  const { dice } = m;
  const name = dice.chance(2) ? 'reset' : dice.pick(keys(EVTCHNOP).filter((x) => x !== 'reset'));
  const argument = eventArgument(m, name);
  if (EVTCHNOP[name] > EVTCHNOP.unmask || dice.chance(80))
    return made('event_channel_op', [EVTCHNOP[name], m.put(argument)], name);
  return made('event_channel_op_compat', [m.put(concat(le(EVTCHNOP[name], 4), argument))], name);
}
/** Requests or rubbish in a ring, and the back end is told. */
export function ringTraffic(m: Maker): Made {
  const { console, xenstore } = m.world.guest;
  const { dice } = m;
  const isStore = dice.chance(70);
  const at = m.world.va((isStore ? xenstore : console).state.frame - m.world.frame(0));
  const random = (length: number): Uint8Array => Uint8Array.from({ length }, () => dice.below(256));
  if (isStore) {
    const paths = ['device', 'name', '@releaseDomain', 'device/vif/0', '', '/local/domain/1/data/x', 'a//b'];
    const text = new TextEncoder().encode(`${dice.pick(paths)}\0${dice.chance(50) ? 'token\0' : ''}`);
    const payload = dice.chance(90) ? text : random(dice.below(64));
    const length = dice.chance(95) ? payload.length : dice.next();
    const message = concat(le(dice.below(22), 4), le(dice.below(9), 4), le(dice.chance(80) ? 0 : dice.below(4), 4), le(length, 4), payload); // biome-ignore format: one row
    const bytes = concat(message, new Uint8Array(-message.length & 7));
    m.stores.push({ at, bytes });
    const start = dice.chance(90) ? 0 : dice.next();
    // requests from the ring's begin; the answers before are forgotten
    m.stores.push({ at: at + 0x800n, bytes: concat(le(start, 4), le(start + message.length, 4), words(0)) });
  } else {
    m.stores.push({ at: at + 0x400n, bytes: random(32) });
    const indices = dice.chance(80) ? [0, 0, 0, dice.below(32)] : [0, 0, 0, 0].map(() => dice.next());
    m.stores.push({ at: at + 0xc00n, bytes: concat(...indices.map((x) => le(x, 4))) });
  }
  const to = isStore ? XENSTORE_PORT : CONSOLE_PORT;
  return made('event_channel_op', [EVTCHNOP.send, m.struct(ARG.eventPort, { port: to })], 'send');
}

// ---- time and scheduling ----------------------------------------------------------------------------------------------

/** A moment soon, or any, also one that no number of JavaScript's holds. */
const soon = (m: Maker): bigint =>
  m.dice.chance(85)
    ? BigInt(m.world.guest.machine.now() + m.dice.below(5_000_000))
    : m.dice.pick([m.dice.wide(), 2n ** 53n + 1n, 2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]);
export const setTimer = (m: Maker): Made => made('set_timer_op', [m.dice.chance(10) ? 0 : soon(m)]);

export function schedOp(m: Maker): Made {
  const { dice } = m;
  const call = (name: keyof typeof SCHEDOP, argument: bigint): Made =>
    made('sched_op', [SCHEDOP[name], argument], name);
  return dice.pick<() => Made>([
    () => call('yield', 0n),
    () => call('yield', 0n),
    () => {
      const list = Array.from({ length: dice.below(4) }, () => port(m, open));
      const ports = m.put(concat(new Uint8Array(0), ...list.map((x) => le(x, 4))));
      const nr_ports = dice.chance(97) ? list.length : dice.next();
      return call('poll', m.struct(ARG.schedPoll, { ports, nr_ports, timeout: soon(m) }));
    },
    () => call('shutdown_code', m.struct(ARG.schedShutdown, { reason: dice.below(8) })),
    () => {
      const id = dice.below(4);
      return call('watchdog', m.struct(ARG.schedWatchdog, { id, timeout: id === 0 ? 1000 : dice.pick([0, 0, 5000]) }));
    },
    () => call(dice.pick(['remote_shutdown', 'pin_override'] as const), m.put(new Uint8Array(16))),
  ])();
}
/** Yield and block as old kernels ask for them. */
export function compatSched(m: Maker): Made {
  const name = m.dice.pick(['yield', 'block'] as const);
  return made('sched_op_compat', [SCHEDOP[name], 0], name);
}
/** A timer, and sleep until it. */
export function sleep(m: Maker): Array<(m: Maker) => Made> {
  const { dice } = m;
  const timer = (now: Maker): Made =>
    now.dice.pick<() => Made>([
      () => made('set_timer_op', [BigInt(now.world.guest.machine.now() + 100_000)]),
      () => setTimer(now),
      () => made('vcpu_op', [VCPUOP.set_singleshot_timer, 0, now.struct(ARG.setSingleshotTimer, { timeout_abs_ns: soon(now) })], 'set_singleshot_timer'), // biome-ignore format: one row
    ])();
  return [timer, dice.chance(50) ? compatSched : () => made('sched_op', [SCHEDOP.block, 0], 'block')];
}
/** What ends the run where it succeeds. */
export const ending = (m: Maker): Made =>
  m.dice.pick<() => Made>([
    () => made('sched_op', [SCHEDOP.shutdown, m.struct(ARG.schedShutdown, { reason: m.dice.below(8) })], 'shutdown'),
    () => made('sched_op_compat', [SCHEDOP.shutdown, m.dice.below(8)], 'shutdown'),
    () => made('vcpu_op', [VCPUOP.down, 0, 0], 'down'),
  ])();

export function vcpuOp(m: Maker): Made {
  const { dice } = m;
  const name = dice.pick(keys(VCPUOP).filter((x) => x !== 'down'));
  const argument = (): bigint => {
    switch (name) {
      case 'register_runstate_memory_area':
      case 'register_vcpu_time_memory_area':
        return m.struct(ARG.registerRunstate, { address: dice.chance(80) ? m.page() + 64n : m.badPointer() });
      case 'register_vcpu_info':
        return m.struct(ARG.registerVcpuInfo, { mfn: m.frameWord(), offset: dice.pick([0, 64, 4032, 4040, 1]) });
      case 'set_periodic_timer':
        return m.struct(ARG.setPeriodicTimer, {
          period_ns: dice.chance(80) ? 1_000_000 + dice.below(1e9) : dice.wide(),
        });
      case 'set_singleshot_timer':
        return m.struct(ARG.setSingleshotTimer, { timeout_abs_ns: soon(m), flags: dice.below(3) });
      default:
        return m.put(new Uint8Array(64));
    }
  };
  return made('vcpu_op', [VCPUOP[name], cpu0(m), argument()], name);
}

// ---- registers, callbacks, segments -------------------------------------------------------------------------------------

export function setTrapTable(m: Maker): Made {
  const { dice } = m;
  if (dice.chance(3)) return made('set_trap_table', [0], 'clear');
  const entry = (vector: number): Uint8Array =>
    concat(le(vector, 1), le(dice.below(8), 1), le(0xe033, 2), le(0, 4), le(handler(m), 8));
  // mostly what a kernel needs to live on
  const vectors = dice.chance(60)
    ? Array.from({ length: TRAPS }, (_, i) => i)
    : Array.from({ length: dice.below(5) }, () => dice.below(256));
  return made('set_trap_table', [m.put(concat(...vectors.map(entry), new Uint8Array(16)))], 'entries');
}
export function callbackOp(m: Maker): Made {
  const { dice } = m;
  const type = dice.pick(keys(CALLBACKTYPE));
  const unregister = dice.chance(30);
  const value = { type: CALLBACKTYPE[type], flags: dice.below(2), address: handler(m) };
  const argument = unregister ? m.struct(ARG.callbackUnregister, { type: value.type }) : m.struct(ARG.callbackRegister, value); // biome-ignore format: one row
  const cmd = unregister ? 'unregister' : 'register';
  return made('callback_op', [CALLBACKOP[cmd], argument], `${cmd}_${type}`);
}
/** Back to the kernel, to its user mode, or a way that the return refuses. */
export function iret(m: Maker): Made {
  const { dice, world } = m;
  const hasUser = world.guest.xen.vcpus[0]!.userTable !== 0;
  const isUser = hasUser && dice.chance(40);
  const inSyscall = dice.chance(25);
  const cs = isUser ? (dice.chance(80) ? 0xe033 : 0xe023) : dice.chance(95) ? 0xe030 : dice.below(0x10000) & ~3;
  const rflags = dice.chance(90) ? 2 : 0x202 | dice.next();
  const rip = isUser ? 0x400000n : HANDLER;
  const frame = words(1, 2, 3, inSyscall ? 0x100 : 0, rip, cs, rflags, STACK, dice.chance(95) ? 0xe02b : dice.below(0x10000)); // biome-ignore format: one row
  m.stores.push({ at: FRAME, bytes: frame });
  return made('iret', [], isUser ? 'user' : inSyscall ? 'syscall' : 'kernel');
}
export function segmentBase(m: Maker): Made {
  const name = m.dice.pick(keys(SEGBASE));
  const value = name === 'GS_USER_SEL' ? m.dice.pick([0, 3, 0xe02b, m.dice.below(0x10000)]) : m.dice.pick([0n, m.page(), m.dice.wide()]); // biome-ignore format: one row
  return made('set_segment_base', [SEGBASE[name], value], name);
}
export const debugRegister = (m: Maker): Made => {
  const register = m.dice.below(9);
  const value = register < 4 ? m.page() : register === 7 ? m.dice.pick([0, 0x400, 0x401]) : m.dice.pick([0n, m.dice.wide()]); // biome-ignore format: one row
  return m.dice.chance(50) ? made('set_debugreg', [register, value]) : made('get_debugreg', [register]);
};
export const setCallbacks = (m: Maker): Made => made('set_callbacks', [handler(m), handler(m), handler(m)]);
export const stackSwitch = (m: Maker): Made =>
  made('stack_switch', [0xe02b, m.dice.chance(97) ? STACK : m.dice.wide()]);
export const fpuTaskSwitch = (m: Maker): Made => made('fpu_taskswitch', [m.dice.below(2)]);
export function vmAssist(m: Maker): Made {
  const type = m.dice.pick(keys(VMASST).filter((name) => name.startsWith('TYPE_')));
  const cmd = m.dice.pick(['enable', 'disable'] as const);
  return made('vm_assist', [VMASST[`CMD_${cmd}`], VMASST[type]], `${cmd}_${type}`);
}

// ---- what is asked, put out or set up ---------------------------------------------------------------------------------------

export function xenVersion(m: Maker): Made {
  const name = m.dice.pick(keys(XENVER));
  const argument = name === 'pagesize' ? 0n : name === 'get_features' ? m.struct(ARG.featureInfo, { submap_idx: m.dice.below(2) }) : m.put(new Uint8Array(1024)); // biome-ignore format: one row
  return made('xen_version', [XENVER[name], argument], name);
}
export function consoleIo(m: Maker): Made {
  const name = m.dice.pick(keys(CONSOLEIO));
  const bytes = Uint8Array.from({ length: m.dice.below(300) }, () => m.dice.below(256));
  return made('console_io', [CONSOLEIO[name], bytes.length, m.put(bytes)], name);
}
/** Two frames, or references, and a piece of a page. */
function copyFields(m: Maker): Record<string, number | bigint> {
  const { dice } = m;
  const flags = dice.chance(80) ? 0 : dice.below(4);
  const side = (gref: boolean): number | bigint => (gref ? dice.below(600) : m.frameWord());
  return {
    source_frame: side((flags & 1) !== 0),
    source_domid: dice.chance(90) ? DOMID.SELF : dice.below(3),
    source_offset: dice.below(4096),
    dest_frame: side((flags & 2) !== 0),
    dest_domid: dice.chance(90) ? DOMID.SELF : dice.below(3),
    dest_offset: dice.below(4096),
    len: dice.below(dice.chance(80) ? 64 : 5000),
    flags,
  };
}
export function grantOp(m: Maker): Made {
  const { dice } = m;
  const name = dice.pick(keys(GNTTABOP));
  const count = dice.pick([1, 2, 8, 64, 65]);
  const argument = (): bigint => {
    switch (name) {
      case 'setup_table':
        return m.struct(ARG.grantSetupTable, { dom: self(m), nr_frames: count, frame_list: m.put(new Uint8Array(8 * count)) }); // biome-ignore format: one row
      case 'map_grant_ref':
        return m.struct(ARG.grantMap, { flags: dice.below(8), ref: dice.below(600), dom: dice.pick([0, 1, self(m)]) });
      case 'copy':
        return m.struct(ARG.grantCopy, copyFields(m));
      case 'swap_grant_ref':
        return m.struct(ARG.grantSwap, { ref_a: dice.below(600), ref_b: dice.below(600) });
      case 'cache_flush':
        return m.struct(ARG.grantCacheFlush, {
          address: m.frameWord() << 12n,
          offset: dice.below(5000),
          length: dice.below(5000),
          op: dice.below(4),
        });
      case 'set_version':
        return m.struct(ARG.grantSetVersion, { version: dice.below(4) });
      default:
        return m.put(concat(le(self(m), 2), new Uint8Array(62)));
    }
  };
  return made('grant_table_op', [GNTTABOP[name], argument(), dice.chance(97) ? 1 : dice.next()], name);
}
export function physdevOp(m: Maker): Made {
  const { dice } = m;
  const name = dice.pick(keys(PHYSDEVOP));
  const argument = (): Uint8Array => {
    if (name === 'set_iopl') return bytesOf(ARG.setIopl, { iopl: dice.below(5) });
    if (name === 'set_iobitmap') return bytesOf(ARG.setIobitmap, { bitmap: m.page(), nr_ports: dice.below(70_000) });
    return bytesOf(ARG.pirqEoiGmfn, { gmfn: m.frameWord() });
  };
  if (dice.chance(70)) return made('physdev_op', [PHYSDEVOP[name], m.put(argument())], name);
  return made('physdev_op_compat', [m.put(concat(le(PHYSDEVOP[name], 4), le(0, 4), argument()))], name);
}
/** Calls that are refused as a whole, numbers without a row, and rubbish. */
export function refused(m: Maker): Made {
  const all = Object.values(HYPERCALL) as number[];
  const plain = ['platform_op', 'update_va_mapping_otherdomain', 'nmi_op', 'sysctl', 'domctl', 'kexec_op', 'xenpmu_op'];
  const rows = HYPERCALLS.filter((row) => plain.includes(row.name)).map((row) => row.number);
  const without = all.filter((number) => !HYPERCALLS.some((row) => row.number === number));
  const op = m.dice.pick([m.dice.pick(rows), m.dice.pick(without), m.dice.pick([11, 43, 48, 63, 64, m.dice.next()])]);
  const args = Array.from({ length: 5 }, () => m.dice.wide());
  return {
    op,
    args,
    names: HYPERCALLS.some((row) => row.number === op && !plain.includes(row.name)) ? [] : [callName(op)],
  };
}
