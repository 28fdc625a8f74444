/**
 * What stops are met at each tick, found out the slow way: a machine is taken from tick to tick, and what an instruction accesses is what
 * iced-x86 says of its bytes and the registers before it. Nothing here asks the engine's watches or pauses.
 */
import {
  Decoder,
  type InstructionInfo,
  InstructionInfoFactory,
  MemorySizeExt,
  OpAccess,
  Register,
  RegisterExt,
} from 'iced-x86';
import type { Tick } from '../../src/core/units.ts';
import type { InputDoor } from '../../src/machine/inputs.ts';
import type { StopCondition, Watchpoint } from '../../src/machine/stops.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { GPR } from '../../src/x86/state.ts';
import { pseudoRandom } from './time-travel.ts';
import { HANDLER, machineAddress, type Paging, PLACES, PORT, rootOf, type VcpuGuest, vcpuMachine } from './vcpus.ts';

// ---- guests of random code ----------------------------------------------------------------------------------------------

const le32 = (value: number): number[] => [value, value >>> 8, value >>> 16, value >>> 24].map((x) => x & 255);
/** Bytes of `mov edi/esi/ecx/esp, value`. */
const move = (opcode: number, value: number): number[] => [opcode, ...le32(value)];
const [EDI, ESI, ECX, ESP] = [0xbf, 0xbe, 0xb9, 0xbc];

/** An instruction or a few that means the same in 32-bit and 64-bit code. EDI and ESI point to data before and after it. */
function anything(random: (below: number) => number): number[] {
  const at = random(12) * 4;
  const pointers = [...move(EDI, PLACES.data + 4096 + random(8) * 4), ...move(ESI, PLACES.data + 4096 + random(8) * 4)];
  const choices: (() => number[])[] = [
    () => [0x8b, 0x47, at],
    () => [0x89, 0x47, at],
    () => [0x01, 0x47, at],
    () => [0x39, 0x47, at],
    () => [0x87, 0x47, at],
    () => [0xff, 0x47, at],
    () => [0x8b, 0x46, at],
    () => [0x80, 0x47, at, 3],
    () => [0xff, 0xc0],
    () => [0x50, 0x58],
    () => [0xff, 0x77, at, 0x8f, 0x46, at],
    () => [0xa4],
    () => [0xa5],
    () => [0xac],
    () => [0xaa],
    () => [0xa6],
    () => [...move(ECX, random(6)), 0xf3, 0xa4],
    () => [...move(ECX, random(6)), 0xf3, 0xab, ...pointers],
    () => [0xd9, 0x47, at, 0xd9, 0x5e, at],
    () => [0x0f, 0x10, 0x47, at, 0x0f, 0x11, 0x46, at],
    // over the end of the vCPU's own page of data into the shared one
    () => [0x8b, 0x87, ...le32(-4098 - random(40))],
    () => [...move(EDI, PLACES.data + 4094), 0x01, 0x07, ...pointers],
    // faults: a load; a copy that has read when it faults; a push of what was read; no instruction
    () => [0x8b, 0x87, ...le32(0x10_0000)],
    () => [...move(EDI, PLACES.absent), 0xa4, ...pointers],
    () => [...move(ESP, PLACES.absent + 64), 0xff, 0x77, at, ...move(ESP, PLACES.stack + 0xf00)],
    () => [0x0f, 0xff],
    () => [0xe6, [PORT.timer, PORT.upcall, PORT.ipi, PORT.sleep, PORT.bell, PORT.device, PORT.quiet][random(7)]!],
    () => pointers,
  ];
  return choices[random(choices.length)]!();
}
/** A page of code: a loop of a few dozen instructions, some of them in a loop of their own, and the handler of upcalls. */
function randomCode(random: (below: number) => number): Uint8Array {
  const page = new Uint8Array(4096).fill(0x90);
  const start = [
    ...move(ESP, PLACES.stack + 0xf00),
    ...move(EDI, PLACES.data + 4096),
    ...move(ESI, PLACES.data + 4112),
  ];
  const code = [...start];
  while (code.length < 250) code.push(...anything(random));
  // mov [data], 5; 1: access; dec dword [data]; jnz 1: far from where the rest accesses
  code.push(...start, 0xc7, 0x47, 0x7c, ...le32(5));
  const loop = code.length;
  code.push(0x8b, 0x47, random(12) * 4, 0xff, 0x4f, 0x7c);
  code.push(0x75, (loop - code.length - 2) & 255);
  code.push(0xe9, ...le32(-code.length - 5));
  page.set(code);
  page.set([0xff, 0x47, 0x20, 0x8b, 0x46, 0x24, 0xc3], HANDLER);
  return page;
}
export function randomGuest(seed: number, pagings: readonly Paging[]): VcpuGuest {
  const random = pseudoRandom(seed);
  return { pagings, code: pagings.map(() => randomCode(random)), quantum: 5 + random(40) };
}

// ---- what happens at each tick --------------------------------------------------------------------------------------------

interface Access {
  readonly pa: number;
  readonly bytes: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly vcpu: number;
}
/** What is met at a tick, and the state there. */
interface Standing {
  readonly rip: bigint;
  readonly vcpu: number;
  readonly root: number;
}
interface Moment {
  /** The instruction that the step from here executes, null where it executes none. */
  coming: Standing | null;
  /** Where the vCPU is whose turn it is, null where the guest has ended. */
  readonly stands: Standing | null;
  readonly accesses: readonly Access[];
  readonly events: ReadonlyArray<{ readonly kind: string; readonly vcpu: number }>;
  readonly vcpu: number;
  readonly hash: bigint;
  readonly rax: bigint;
  /** The shared page's words. */
  readonly shared: Int32Array;
}

const EVENTS = ['timer', 'upcall', 'input', 'trap', 'bell'];

/** What the instruction at `rip` would access, by iced-x86. */
function accessesOf(cpu: Cpu, bytes: Uint8Array, infos: InstructionInfoFactory): Access[] {
  const decoder = new Decoder(cpu.longMode ? 64 : 32, bytes, 0);
  decoder.ip = cpu.rip;
  const instruction = decoder.decode();
  const info: InstructionInfo = infos.info(instruction);
  const repeats = instruction.hasRepPrefix || instruction.hasRepnePrefix;
  const registerOf = (register: number): bigint => {
    if (register === Register.None) return 0n;
    const value = cpu.gpr(RegisterExt.number(register));
    return RegisterExt.size(register) === 4 ? BigInt.asUintN(32, value) : value;
  };
  const found: Access[] = [];
  const none = repeats && BigInt.asUintN(cpu.longMode ? 64 : 32, cpu.gpr(GPR.rcx)) === 0n;
  for (const memory of none ? [] : info.usedMemory()) {
    const { access } = memory;
    const read = [OpAccess.Read, OpAccess.CondRead, OpAccess.ReadWrite, OpAccess.ReadCondWrite].includes(access);
    const write = [OpAccess.Write, OpAccess.CondWrite, OpAccess.ReadWrite, OpAccess.ReadCondWrite].includes(access);
    if (!read && !write) continue;
    const sum = registerOf(memory.base) + registerOf(memory.index) * BigInt(memory.scale) + memory.displacement;
    const linear = Number(BigInt.asUintN(cpu.longMode ? 64 : 32, sum));
    const bytes = MemorySizeExt.size(memory.memorySize) || MemorySizeExt.size(instruction.memorySize);
    for (let i = 0; i < bytes; i++) {
      const pa = machineAddress(cpu.id, linear + i);
      if (pa !== null) found.push({ pa, bytes: 1, read, write, vcpu: cpu.id });
    }
    memory.free();
  }
  info.free();
  instruction.free();
  decoder.free();
  return found;
}

export class Reference {
  readonly moments: Moment[] = [];

  /** Takes a machine of the guest through `ticks` ticks, one at a time. */
  constructor(guest: VcpuGuest, ticks: Tick, door: InputDoor) {
    const infos = new InstructionInfoFactory();
    let idles = 0;
    const { machine, platform, tracker } = vcpuMachine(
      guest,
      { tier: 'cold' },
      {
        take: (tick) => door.take(tick),
        nextPayload: (tick) => door.nextPayload(tick),
        decided: (decision) => {
          if (decision.kind === 'idle') idles++;
          door.decided(decision);
        },
      },
    );
    const { memory } = machine.engine;
    let events: { kind: string; vcpu: number }[] = [];
    for (const kind of EVENTS) platform.stream.on(kind, () => events.push({ kind, vcpu: machine.loop.turn.vcpu }));
    let accesses: Access[] = [];
    const look = (): void => {
      const own = platform.writes.map((x) => ({ ...x, read: false, write: true }));
      const shared = memory.words.slice(memory.slotAddress(1) / 4, memory.slotAddress(1) / 4 + 64);
      const [vcpu, hash, rax] = [machine.cpu.id, tracker.stateHash(), machine.cpu.gpr(GPR.rax)];
      const { rip, id } = machine.cpu;
      const stands = machine.loop.ended === null ? { rip, vcpu: id, root: rootOf(id) } : null;
      this.moments.push({ coming: null, stands, accesses: [...accesses, ...own], events, vcpu, hash, rax, shared });
      accesses = [];
      events = [];
      platform.writes = [];
    };
    machine.runTo(0);
    look();
    for (let tick = 0; tick < ticks; tick++) {
      const { cpu } = machine;
      const { rip } = cpu;
      const expected = accessesOf(cpu, memory.readBytes(machineAddress(cpu.id, Number(rip))!, 15), infos);
      const [upcalls, faults, before] = [platform.upcalls, platform.faults, idles];
      machine.runTo(tick + 1);
      if (platform.upcalls === upcalls && idles === before) {
        this.moments[tick]!.coming = { rip, vcpu: cpu.id, root: rootOf(cpu.id) };
        if (platform.faults === faults) accesses = expected;
      }
      look();
    }
    infos.free();
  }

  /** Kinds of the events between two ticks, each once. */
  happened(from: Tick, to: Tick): string[] {
    const moments = this.moments.slice(Math.max(0, from), to + 1);
    return [...new Set(moments.flatMap(({ events }) => events.map((e) => e.kind)))];
  }
  #isBehind(c: StopCondition, tick: Tick): number | null {
    const { accesses, events, vcpu } = this.moments[tick]!;
    const mine = (of: number): boolean => !('vcpu' in c) || c.vcpu === undefined || c.vcpu === of;
    switch (c.kind) {
      case 'access': {
        const met = accesses.find(
          (a) =>
            a.pa < c.address + c.bytes &&
            c.address < a.pa + a.bytes &&
            ((a.write && c.access !== 'read') || (a.read && c.access !== 'write')) &&
            mine(a.vcpu),
        );
        return met?.vcpu ?? null;
      }
      case 'event':
        return events.find((e) => e.kind === c.event && mine(e.vcpu))?.vcpu ?? null;
      case 'tick':
        return c.tick === tick ? vcpu : null;
      case 'address':
        return null;
    }
  }
  #isComing(c: StopCondition, tick: Tick): number | null {
    if (c.kind !== 'address') return null;
    const coming = this.moments[tick]![c.standing ? 'stands' : 'coming'];
    if (coming === null || coming.rip !== c.address) return null;
    if ((c.vcpu ?? coming.vcpu) !== coming.vcpu || (c.root ?? coming.root) !== coming.root) return null;
    return coming.vcpu;
  }
  #met(points: readonly Watchpoint[], how: (c: StopCondition) => number | null): Met[] {
    return points.flatMap(({ client, condition }) => {
      const vcpu = how(condition);
      return vcpu === null ? [] : [{ client, condition, vcpu }];
    });
  }
  /** What is met at a tick: by whom. */
  at(points: readonly Watchpoint[], tick: Tick): Met[] {
    return [
      ...(tick === 0 ? [] : this.#met(points, (c) => this.#isBehind(c, tick))),
      ...this.#met(points, (c) => this.#isComing(c, tick)),
    ];
  }
  /** Where a run from a tick to another comes back, and what is met there. */
  forward(points: readonly Watchpoint[], from: Tick, to: Tick, resume: boolean): { tick: Tick; met: Met[] } {
    for (let tick = from; tick <= to; tick++) {
      const behind = tick === from ? [] : this.#met(points, (c) => this.#isBehind(c, tick));
      const passes = tick === from && resume;
      const coming =
        passes || (tick === to && behind.length === 0) ? [] : this.#met(points, (c) => this.#isComing(c, tick));
      if (behind.length + coming.length > 0) return { tick, met: [...behind, ...coming] };
    }
    return { tick: to, met: [] };
  }
  /** Where going back from a tick comes to. */
  back(points: readonly Watchpoint[], before: Tick): { tick: Tick; met: Met[] } {
    for (let tick = before - 1; tick >= 0; tick--) {
      const met = this.at(points, tick);
      if (met.length > 0) return { tick, met };
    }
    return { tick: 0, met: [] };
  }
}
/** A condition that is met, by which vCPU. */
export interface Met {
  readonly client: string;
  readonly condition: StopCondition;
  readonly vcpu: number;
}
