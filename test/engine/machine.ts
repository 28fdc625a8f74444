/** A bare long-mode machine for engine tests: 4-level tables in guest memory, a platform that records deliveries. */
import { Engine, type EngineOptions, type RunExit } from '../../src/engine/engine.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import type { Insn } from '../../src/x86/form.ts';
import { type EventKind, type Fault, type Outcome, type Platform, stop } from '../../src/x86/seam.ts';
import { GPR, SEG, STATE } from '../../src/x86/state.ts';
import { setFlatSegment } from '../../src/x86/system/descriptors.ts';

export const CODE = 0x40_0000n;
export const DATA = 0x80_0000n;
export const STACK_TOP = 0xc0_0000n;
/** Page-table bits. */
export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const NX = 1n << 63n;

const ROOT = 1;
const FIRST_FREE = 0x100;

export interface Delivery {
  readonly kind: EventKind;
  readonly event: Fault;
  readonly insn: Insn | null;
  readonly rip: bigint;
  readonly step: bigint;
}

/** Puts a vCPU into 64-bit mode at CODE, with the tables at machine address `root`. */
export function startLong(cpu: Cpu, root: number, cpl = 0): void {
  cpu.set('cr0', 0x80010011);
  cpu.set('cr4', 0x620); // PAE, OSFXSR, OSXMMEXCPT
  cpu.set('cr3', root);
  cpu.set('efer', 0xd01);
  cpu.set('codeMode', 2);
  cpu.set('cpl', cpl);
  for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) setFlatSegment(cpu, segment, 0, 0xc093);
  setFlatSegment(cpu, SEG.cs, 0, 0xa09b);
  cpu.set('mxcsr', 0x1f80);
  cpu.rip = CODE;
  cpu.rsp = STACK_TOP - 0x100n;
}

/** Stops at every delivery unless `resume` says otherwise. */
export class TestPlatform implements Platform {
  readonly deliveries: Delivery[] = [];
  /** Called for each delivery; null continues. */
  resume: (cpu: Cpu, event: Fault, kind: EventKind) => Outcome = () => stop('stopped', 'delivery');

  deliver(cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
    this.deliveries.push({ kind, event, insn, rip: cpu.rip, step: cpu.get('steps') });
    return this.resume(cpu, event, kind);
  }
  readonly vendor = 'amd';
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
  cpuid(): readonly [number, number, number, number] {
    return [1, 2, 3, 4];
  }
  tsc(cpu: Cpu): bigint {
    return cpu.get('steps');
  }
  readMsr(): bigint {
    return 0n;
  }
  writeMsr(): Outcome {
    return null;
  }
  portIn(): number {
    return 0;
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
}

export interface TestOptions extends EngineOptions {
  readonly vcpus?: number;
  readonly recordBytes?: number;
  readonly cpl?: number;
}

export class TestMachine {
  readonly memory: GuestMemory;
  readonly engine: Engine;
  readonly cpu: Cpu;
  readonly platform = new TestPlatform();
  #nextTable = 2;
  #nextFrame = FIRST_FREE;

  constructor(options: TestOptions = {}) {
    this.memory = new GuestMemory({
      vcpus: options.vcpus ?? 1,
      slots: 2048,
      frameLimit: 8192,
      recordBytes: options.recordBytes ?? 8 << 20,
    });
    for (let frame = 0; frame < 64; frame++) this.memory.addFrame(frame);
    this.engine = new Engine(this.memory, { policy: 'x86-64-v2', ...options });
    this.cpu = this.engine.cpus[0]!;
    for (const cpu of this.engine.cpus) startLong(cpu, ROOT * 4096, options.cpl ?? 0);
    this.mapNew(STACK_TOP - 0x4000n, 4);
  }

  /** Machine address of the leaf entry of `va`, making tables where there are none. */
  entry(va: bigint): number {
    let table = ROOT;
    for (let shift = 39n; shift > 12n; shift -= 9n) {
      const at = table * 4096 + Number((va >> shift) & 511n) * 8;
      let value = this.memory.read64(at);
      if ((value & P) === 0n) {
        value = (BigInt(this.#nextTable++) << 12n) | P | W | U;
        this.memory.write64(at, value);
      }
      table = Number((value >> 12n) & 0xfffffn);
    }
    return table * 4096 + Number((va >> 12n) & 511n) * 8;
  }
  map(va: bigint, frame: number, bits = P | W | U): void {
    this.memory.write64(this.entry(va), (BigInt(frame) << 12n) | bits);
  }
  newFrame(): number {
    this.memory.addFrame(this.#nextFrame);
    return this.#nextFrame++;
  }
  /** Maps `pages` new frames from `va` on; returns the first. */
  mapNew(va: bigint, pages: number, bits = P | W | U): number {
    const first = this.#nextFrame;
    for (let i = 0; i < pages; i++) this.map(va + BigInt(i) * 4096n, this.newFrame(), bits);
    return first;
  }
  pte(va: bigint): bigint {
    return this.memory.read64(this.entry(va));
  }
  pa(va: bigint): number {
    return Number((this.pte(va) >> 12n) & 0xfffffn) * 4096 + Number(va & 4095n);
  }
  write(va: bigint, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) this.memory.write8(this.pa(va + BigInt(i)), byte);
  }
  /** Maps `pages` pages at CODE and puts the bytes given as hex there. */
  code(hex: string, at = CODE, pages = 4): void {
    this.mapNew(at & ~4095n, pages);
    this.write(at, parseHex(hex));
    this.cpu.rip = at;
  }
  get(name: keyof typeof GPR): bigint {
    return this.cpu.gpr(GPR[name]);
  }
  set(name: keyof typeof GPR, value: bigint): void {
    this.cpu.setGpr(GPR[name], value);
  }
  run(budget: number): RunExit {
    return this.engine.run(this.cpu, budget, this.platform);
  }
  /** Runs through events until `budget` steps are taken or the machine stops; returns the steps taken. */
  runAll(budget: number): number {
    let steps = 0;
    while (steps < budget) {
      const exit = this.run(budget - steps);
      steps += exit.steps;
      if (exit.kind !== 'event') break;
    }
    return steps;
  }
  /** Architectural state and all guest memory as one string of small size. */
  digest(): string {
    const parts: string[] = [];
    for (const [name, info] of Object.entries(STATE)) {
      if (!info.architectural) continue;
      for (let i = 0; i < info.count; i++) parts.push(`${name}${i}=${this.cpu.get(name as keyof typeof STATE, i)}`);
    }
    parts.push(`rflags=${this.cpu.rflags}`);
    let hash = 0xcbf29ce484222325n;
    for (let slot = 0; slot < this.memory.slotCount; slot++) {
      const at = this.memory.slotAddress(slot) >>> 2;
      let h = 0;
      for (let i = 0; i < 1024; i++) h = (Math.imul(h ^ this.memory.words[at + i]!, 0x01000193) + (h >>> 15)) | 0;
      hash = BigInt.asUintN(64, (hash ^ BigInt(h >>> 0)) * 0x100000001b3n);
    }
    return `${parts.join(' ')} memory=${hash.toString(16)}`;
  }
}

export function parseHex(hex: string): Uint8Array {
  return new Uint8Array((hex.match(/[0-9a-f]{2}/gi) ?? []).map((x) => Number.parseInt(x, 16)));
}
