/** A machine that runs scenarios one after the other: what an engine keeps between them is what it derived, and is dropped. */
import { type PreparedHandlers, prepareHandlers } from '../../../src/engine/cold/prepared.ts';
import { Engine, type EngineOptions } from '../../../src/engine/engine.ts';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import type { Cpu } from '../../../src/x86/cpu.ts';
import { POLICIES, type Vendor } from '../../../src/x86/features.ts';
import type { CpuPolicy, Insn } from '../../../src/x86/form.ts';
import { type EventKind, type Fault, type Outcome, type Platform, stop } from '../../../src/x86/seam.ts';
import { FLAG, SEG, type SlotName, STATE } from '../../../src/x86/state.ts';
import { type Random, randomOf } from '../random.ts';
import { ALIAS, CODE, CODE_PAGES, CONTROLS, DATA, DATA_PAGES, JUMPS, STACK, STACK_PAGES, TABLES } from './places.ts';
import { type Happening, PROMOTIONS, type Scenario } from './scenario.ts';

const ACCESSES = ['read', 'write', 'any'] as const;

export type TierName = 'hot' | 'cold' | 'oracle';

/** Machine frames. A page of code or data has two, which differ in one bit: programs change from one to the other. */
const FRAME = {
  root: 1,
  pdpt: 2,
  directory: 3,
  code: 4,
  data: 5,
  tables: 6,
  stack: 7,
  codePages: 32,
  dataPages: 64,
  stackPages: 96,
};
const FRAMES = 100;
const OTHER_CODE = 4;
const OTHER_DATA = 16;
const P = 1;
const W = 2;
const U = 4;
const PAGE = 4096;

/** Bytes of the vCPU state that are architectural, as [offset, end, name of the first slot]. */
const RANGES: Array<readonly [number, number, string]> = [];
for (const [name, { offset, type, count, architectural }] of Object.entries(STATE)) {
  if (!architectural) continue;
  const width = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 }[type];
  RANGES.push([offset, offset + width * count, name]);
}

/** Random bits for one happening, the same on every machine. */
const wordsOf = ({ a, b, c }: Happening): Random => {
  const random = randomOf(a ^ b);
  let first = 0;
  return () => (first++ === 0 ? c : random());
};

let prepared: PreparedHandlers | null = null;
/** The handlers that an installed Hindsight has: half of the hot tiers run with them. */
function preparedHandlers(): PreparedHandlers {
  if (prepared === null) {
    const { keys, bytes } = prepareHandlers(true);
    prepared = { keys, module: new WebAssembly.Module(bytes) };
  }
  return prepared;
}

export class FuzzMachine implements Platform {
  readonly tier: TierName;
  readonly vendor: Vendor;
  readonly memory: GuestMemory;
  readonly engine: Engine;
  readonly cpu: Cpu;
  readonly #image = new Uint8Array(FRAMES * PAGE);
  #scenario: Scenario | null = null;
  #random: Random = randomOf(1);
  #pauses: ReadonlySet<bigint> = new Set();
  /** Events delivered in this scenario, and a hash of what they, pauses and watched accesses were. */
  deliveries = 0;
  deliveryHash = 0;
  /** Steps taken in this scenario. */
  steps = 0;

  constructor(tier: TierName, policy: CpuPolicy, promotion = 0) {
    this.vendor = POLICIES[policy].vendor;
    this.tier = tier;
    this.memory = new GuestMemory({ vcpus: 1, slots: FRAMES, frameLimit: 8192, recordBytes: 1 << 20 });
    for (let frame = 0; frame < FRAMES; frame++) this.memory.addFrame(frame);
    const host = { prepared: tier === 'hot' && promotion % 2 === 1 ? preparedHandlers() : null };
    const options: EngineOptions = { tier, policy, promotion: { ...PROMOTIONS[promotion]!, measured: true }, host };
    this.engine = new Engine(this.memory, options);
    this.cpu = this.engine.cpus[0]!;
  }

  // ---- setting up ---------------------------------------------------------------------------------------------------

  #entry(table: number, index: number, frame: number, bits: number): void {
    new DataView(this.#image.buffer).setUint32(table * PAGE + index * 8, frame * PAGE + bits, true);
  }
  #map(va: number, pages: number, table: number, frame: number, bits: number): void {
    this.#entry(FRAME.directory, (va >>> 21) & 511, table, P | W | U);
    for (let i = 0; i < pages; i++) this.#entry(table, ((va >>> 12) + i) & 511, frame + i, bits);
  }
  /** Where the bytes of the program lie: at `va` of its pages, first or second frame. */
  #codeAt(offset: number, second: boolean): number {
    return (FRAME.codePages + (second ? OTHER_CODE : 0)) * PAGE + offset;
  }

  /** Makes everything as the scenario begins. */
  load(scenario: Scenario): void {
    this.#scenario = scenario;
    const { code, mode, codeBase, cpl } = scenario;
    const random = randomOf(scenario.seed ^ 0x1234567);
    const image = this.#image.fill(0);
    const view = new DataView(image.buffer);
    this.#entry(FRAME.root, 0, FRAME.pdpt, P | W | U);
    this.#entry(FRAME.pdpt, 0, FRAME.directory, P | W | U);
    this.#map(CODE, CODE_PAGES, FRAME.code, FRAME.codePages, P | W | U);
    this.#map(DATA, DATA_PAGES, FRAME.data, FRAME.dataPages, P | W | U);
    this.#map(ALIAS, CODE_PAGES, FRAME.data, FRAME.codePages, P | W | U);
    this.#map(STACK, STACK_PAGES, FRAME.stack, FRAME.stackPages, P | W | U);
    this.#map(TABLES, 3, FRAME.tables, 0, P | W | U);
    for (const [i, frame] of [FRAME.data, FRAME.code, FRAME.directory].entries())
      this.#entry(FRAME.tables, i, frame, P | W | U);
    image.set(code, this.#codeAt(0, false));
    // the other frames of code: the same with other immediates here and there
    image.set(code, this.#codeAt(0, true));
    for (const { offset, length } of scenario.units)
      if (random() % 8 === 0) image[this.#codeAt(offset + length - 1, true)]! ^= 1 << (random() & 7);
    for (let at = FRAME.dataPages * PAGE; at < (FRAME.dataPages + OTHER_DATA + DATA_PAGES) * PAGE; at += 4)
      view.setUint32(
        at,
        random() % 3 ? random() : [0, 1, 0xffffffff, 0x3f800000, 0x7fc00000, DATA + 64][random() % 6]!,
        true,
      );
    const data = (va: number): number => FRAME.dataPages * PAGE + va - DATA;
    image.fill(0, data(JUMPS) - 0x700, data(JUMPS));
    for (let i = 0; i < 16; i++) {
      view.setUint32(
        data(CONTROLS) + i * 4,
        0x1f80 ^ (random() & 0xe07f) ^ (random() % 3 ? 0 : random() & 0x1f80),
        true,
      );
      view.setUint32(
        data(CONTROLS) + 0x80 + i * 4,
        0x37f ^ (random() & 0xf00) ^ (random() % 3 ? 0 : random() & 63),
        true,
      );
    }
    for (const { slot, offset } of scenario.jumps)
      view.setBigUint64(data(JUMPS) + slot * 8, BigInt((CODE + offset - codeBase) >>> 0), true);
    this.engine.pauseAt(new Set());
    this.engine.watch([]);
    this.#pauses = new Set();
    this.memory.writeBytes(0, image);
    this.cpu.clear();
    this.engine.reset();
    this.#random = randomOf(scenario.seed ^ 0x777);
    this.deliveries = 0;
    this.deliveryHash = 0;
    this.steps = 0;
    const { cpu } = this;
    cpu.set('cr0', 0x8000_0033 | (random() % 3 ? 0x10000 : 0));
    cpu.set('mxcsr', 0x1f80 ^ (random() & 0xe03f));
    cpu.set('fcw', 0x37f ^ (random() & 0xf00));
    this.#restore();
    cpu.set('codeMode', mode);
    cpu.set('cpl', cpl);
    for (let i = 0; i < 8; i++) {
      const bits = (BigInt(random()) << 32n) | BigInt(random());
      cpu.set('fpr', bits | (BigInt(random() & 0xffff) << 64n), i);
    }
    for (let i = 0; i < 16; i++) cpu.set('xmm', randomVector(random), i);
    this.#place();
  }
  /** Registers that a program may have spoiled and cannot go on without. */
  #restore(): void {
    const { cpu } = this;
    const { mode, cpl, codeBase } = this.#scenario!;
    cpu.set('cr0', Number(cpu.get('cr0') & 0x10000n) + 0x8000_0033);
    cpu.set('cr3', FRAME.root * PAGE);
    cpu.set('cr4', 0x620);
    cpu.set('efer', 0xd01);
    cpu.set('cpl', cpl);
    cpu.set('codeMode', mode);
    for (const segment of [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      cpu.set('segmentBase', 0, segment);
      cpu.set('segmentLimit', 0xffff_ffff, segment);
      cpu.set('segmentAttributes', 0xc093 | (cpl << 5), segment);
      cpu.set('selector', 0x10 | cpl, segment);
    }
    cpu.set('segmentAttributes', (mode === 2 ? 0xa09b : 0xc09b) | (cpl << 5), SEG.cs);
    cpu.set('selector', 8 | cpl, SEG.cs);
    cpu.set('segmentBase', codeBase, SEG.cs);
    cpu.set('segmentBase', 0x40, SEG.fs);
    cpu.set('segmentBase', 0x123, SEG.gs);
  }
  #value(): bigint {
    const random = this.#random;
    switch (random() % 8) {
      case 0:
        return BigInt.asUintN(64, BigInt(random() % 64) - 32n);
      case 1:
        return (BigInt(random()) << 32n) | BigInt(random());
      case 2:
        return BigInt(CODE + (random() % (CODE_PAGES * PAGE)));
      case 3:
        return 0x7fff_ffff_ffe0n + BigInt(random() % 64);
      case 4:
        return BigInt(random() % 9);
      default:
        return BigInt(DATA + (random() % DATA_PAGES) * PAGE + (random() % 64) * 8);
    }
  }
  /** New registers, and a place to go on at. */
  #place(): void {
    const { cpu } = this;
    const random = this.#random;
    const { entries, codeBase } = this.#scenario!;
    for (let i = 0; i < 16; i++) cpu.setGpr(i, this.#value());
    cpu.rsp = BigInt(STACK + 0x2000 + (random() % 64) * 8);
    cpu.rflags = (random() & 0xcd5) | 0x202;
    // mostly the dispatcher
    const entry = random() % 3 ? 0 : entries[random() % entries.length]!;
    cpu.rip = BigInt((CODE + entry - codeBase) >>> 0);
    cpu.set('interruptShadow', 0);
    cpu.set('pendingTrap', 0);
  }

  // ---- what happens from outside --------------------------------------------------------------------------------------

  happen(happening: Happening): void {
    const { cpu, memory, engine } = this;
    const { code, units, mode } = this.#scenario!;
    const word = wordsOf(happening);
    const unit = units[happening.a % Math.max(1, units.length)];
    switch (happening.kind) {
      case 'write code': {
        const offset = unit && word() % 4 ? unit.offset + (word() % unit.length) : word() % code.length;
        const bytes = code.slice(offset, offset + [1, 1, 2, 4, 8][word() % 5]!);
        bytes[word() % bytes.length]! ^= word();
        memory.writeBytes(this.#codeAt(offset, word() % 5 === 0), bytes);
        return;
      }
      case 'restore code':
        if (!unit || word() % 3 === 0) memory.writeBytes(this.#codeAt(0, false), code);
        else memory.writeBytes(this.#codeAt(unit.offset, false), code.subarray(unit.offset, unit.offset + unit.length));
        return;
      case 'write data':
        memory.write32((FRAME.dataPages + (word() % (DATA_PAGES - 1))) * PAGE + (word() % 1024) * 4, word());
        return;
      case 'entry':
        this.#changeEntry(word);
        return;
      case 'interrupt':
        this.#interrupt(word);
        return;
      case 'flags':
        cpu.rflags = cpu.rflags ^ [FLAG.tf, FLAG.rf, FLAG.df, FLAG.rf | FLAG.tf, word() & 0x8d5][word() % 5]!;
        return;
      case 'controls':
        if (word() % 2) cpu.set('mxcsr', 0x1f80 ^ (word() & 0xe03f) ^ (word() % 3 ? 0 : word() & 0x1f80));
        else cpu.set('fcw', 0x37f ^ (word() & 0xf00) ^ (word() % 3 ? 0 : word() & 63));
        if (word() % 6 === 0) cpu.set('cr0', Number(cpu.get('cr0')) ^ 8);
        return;
      case 'registers':
        for (let i = 0; i < 3; i++) {
          const register = word() % (mode === 2 ? 16 : 8);
          if (register !== 4) cpu.setGpr(register, this.#value());
        }
        return;
      case 'jump':
        this.#restore();
        this.#place();
        return;
      case 'shadow':
        cpu.set('interruptShadow', 1 + (word() % 2));
        return;
      case 'flush':
        if (word() % 2) cpu.memory.flush(cpu);
        else cpu.memory.flush(cpu, BigInt(DATA + (word() % DATA_PAGES) * PAGE));
        return;
      case 'forget':
        engine.reset();
        return;
      case 'clear dirty':
        engine.mmu.clearDirty();
        return;
      case 'pause':
        this.#pauses = new Set(unit && word() % 2 ? [BigInt(CODE + unit.offset)] : []);
        engine.pauseAt(this.#pauses);
        return;
      case 'watch': {
        const address = (FRAME.dataPages + (word() % DATA_PAGES)) * PAGE + (word() % 4096);
        const range = { address, bytes: 1 + (word() % 16), access: ACCESSES[word() % 3]! };
        engine.watch(word() % 2 ? [range] : []);
      }
    }
  }
  #changeEntry(word: Random): void {
    const { memory } = this;
    const code = word() % 4 === 0;
    const page = word() % (code ? CODE_PAGES : DATA_PAGES - 1);
    const address = (code ? FRAME.code : FRAME.data) * PAGE + page * 8;
    const entry = memory.read64(address);
    const own = BigInt((code ? FRAME.codePages : FRAME.dataPages) + page) << 12n;
    const other = own ^ BigInt((code ? OTHER_CODE : OTHER_DATA) * PAGE);
    const bits = BigInt(P | W | U);
    const values = [
      own | bits,
      other | bits,
      own | bits,
      entry & ~0x60n,
      entry ^ 2n,
      entry ^ 1n,
      entry ^ (1n << 63n),
      entry ^ 4n,
    ];
    memory.write64(address, values[word() % values.length]!);
    if (word() % 2) this.cpu.memory.flush(this.cpu, BigInt((code ? CODE : DATA) + page * PAGE));
  }
  /** Pushes rip and flags and goes to the program's handler, where there is one. */
  #interrupt(word: Random): void {
    const { cpu } = this;
    const { jumps, mode, codeBase } = this.#scenario!;
    const handler = jumps.find((x) => x.slot === 255);
    if (!handler || cpu.num('interruptShadow') !== 0 || cpu.num('codeMode') !== mode) return;
    const width = mode === 2 ? 8 : 4;
    const mask = mode === 2 ? (1n << 64n) - 1n : 0xffff_ffffn;
    const values = [cpu.rip, BigInt(cpu.rflags)];
    let sp = cpu.rsp & mask;
    for (const value of values) {
      sp = (sp - BigInt(width)) & mask;
      if (cpu.memory.store(cpu, sp, width, value & mask) !== null) return;
    }
    cpu.rsp = sp;
    if (word() % 8 === 0) cpu.rflags &= ~FLAG.df;
    cpu.rip = BigInt((CODE + handler.offset - codeBase) >>> 0);
  }

  // ---- running ------------------------------------------------------------------------------------------------------

  /** Runs to a tick of the scenario. */
  runTo(tick: number): void {
    let resume = false;
    while (this.steps < tick) {
      // the oracle walks the page tables for every access
      const walks = this.tier === 'oracle';
      if (walks) this.engine.mmu.flushAll(this.cpu);
      const exit = this.engine.run(this.cpu, walks ? 1 : tick - this.steps, this, resume);
      this.steps += exit.steps;
      resume = exit.kind === 'pause';
      if (exit.kind === 'pause' || exit.kind === 'watch') this.#note(exit.kind === 'pause' ? 0x200 : 0x300);
      if (exit.kind === 'stop') this.#arrive(0x100, null);
    }
  }
  /** Something that every tier must come to has happened. */
  #note(code: number): void {
    const { cpu } = this;
    let hash = this.deliveryHash;
    for (const word of [code, Number(cpu.rip & 0xffff_ffffn), cpu.rflags, cpu.num('steps')])
      hash = (Math.imul(hash ^ word, 0x01000193) + (hash >>> 15)) | 0;
    this.deliveryHash = hash;
  }
  /** An event has arrived: the fuzzed program has no handlers, so that what follows is decided here, equally for all tiers. */
  #arrive(code: number, insn: Insn | null): void {
    const { cpu } = this;
    const { skip } = this.#scenario!;
    this.deliveries++;
    this.#note(code);
    if (insn !== null && (this.#random() & 255) < skip) {
      cpu.rip += BigInt(insn.length);
      if (insn.form.stackSize > 0) cpu.rsp = BigInt(STACK + 0x2000 + (this.#random() % 64) * 8);
      if (this.#random() % 4 === 0) cpu.setGpr(this.#random() & 3, this.#value());
      return;
    }
    this.#restore();
    this.#place();
  }

  deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
    const code = event.vector ^ (event.error << 9) ^ Number(BigInt.asUintN(32, event.address ^ (event.address >> 32n)));
    if (kind === 'fault') {
      this.#arrive(code, insn);
      return null;
    }
    this.deliveryHash = (Math.imul(this.deliveryHash ^ code ^ cpu.num('steps'), 0x01000193) + 7) | 0;
    if (this.#random() % 6 === 0) cpu.rflags &= ~FLAG.tf;
    return null;
  }
  syscall(): Outcome {
    return null;
  }
  wantsInstruction(): boolean {
    return true;
  }
  sysenter(): Outcome {
    return null;
  }
  descriptor(): bigint {
    return 0n;
  }
  writeDescriptor(): Outcome {
    return null;
  }
  cpuid(_: Cpu, leaf: number, subleaf: number): readonly [number, number, number, number] {
    return [leaf & 0xff, subleaf & 0xff, 3, 4];
  }
  tsc(cpu: Cpu): bigint {
    return cpu.get('steps');
  }
  readMsr(_: Cpu, index: number): bigint {
    return BigInt(index) * 3n;
  }
  writeMsr(): Outcome {
    return null;
  }
  portIn(_: Cpu, port: number): number {
    return port;
  }
  portOut(): Outcome {
    return null;
  }
  controlWritten(): Outcome {
    return null;
  }
  halt(): Outcome {
    return stop('stopped', 'hlt');
  }

  // ---- comparing ----------------------------------------------------------------------------------------------------

  #state(): Uint8Array {
    return this.memory.bytes.subarray(this.cpu.base, this.cpu.base + RANGES.at(-1)![1]);
  }
  get #pages(): Uint8Array {
    return this.memory.bytes.subarray(this.memory.map.ram, this.memory.map.ram + FRAMES * PAGE);
  }
  /** What differs from another machine's state and memory, in words; null where nothing does. */
  difference(other: FuzzMachine): string | null {
    const [a, b] = [this.#state(), other.#state()];
    const parts: string[] = [];
    const say = (what: string, mine: unknown, theirs: unknown): void => {
      parts.push(`${what}: ${this.tier} ${mine}, ${other.tier} ${theirs}`);
    };
    if (this.steps !== other.steps) say('steps taken', this.steps, other.steps);
    for (const [offset, end, name] of RANGES) {
      if (Buffer.compare(a.subarray(offset, end), b.subarray(offset, end)) === 0) continue;
      const slot = STATE[name as SlotName];
      for (let i = 0; i < slot.count; i++) {
        const [mine, theirs] = [this.cpu.get(name as SlotName, i), other.cpu.get(name as SlotName, i)];
        if (mine !== theirs) say(`${name}${slot.count > 1 ? i : ''}`, mine.toString(16), theirs.toString(16));
      }
    }
    if (this.cpu.rflags !== other.cpu.rflags)
      say('rflags', this.cpu.rflags.toString(16), other.cpu.rflags.toString(16));
    if (this.deliveries !== other.deliveries) say('events', this.deliveries, other.deliveries);
    else if (this.deliveryHash !== other.deliveryHash) say('hash of events', this.deliveryHash, other.deliveryHash);
    const [mine, theirs] = [this.#pages, other.#pages];
    if (Buffer.compare(mine, theirs) !== 0) {
      const at = mine.findIndex((byte, i) => byte !== theirs[i]);
      say(`memory at ${at.toString(16)}`, mine[at]!.toString(16), theirs[at]!.toString(16));
    }
    return parts.length === 0 ? null : parts.join('\n  ');
  }
}

function randomVector(random: Random): bigint {
  let value = 0n;
  for (let lane = 0; lane < 4; lane++)
    value =
      (value << 32n) |
      BigInt(random() % 2 ? random() : [0, 0x3f800000, 0x7f800000, 0x7fa00000, 1, 0xbf800000][random() % 6]!);
  return value;
}
