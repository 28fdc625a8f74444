/** Guests of random code in a paging mode of their own, each on a vCPU of one engine. */
import { Engine, type EngineOptions } from '../../src/engine/engine.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { fault } from '../../src/x86/seam.ts';
import { GPR, SEG, type SlotName, STATE, VECTOR } from '../../src/x86/state.ts';
import { setFlatSegment } from '../../src/x86/system/descriptors.ts';
import { CODE, DATA, P, STACK_TOP, startLong, TestPlatform, U, W } from './machine.ts';
import { type Random, randomInstruction, randomOf, scramble, TABLE } from './random.ts';

export type Paging = 'long' | 'pae' | 'legacy';

const SHIFTS: Record<Paging, readonly number[]> = { long: [39, 30, 21, 12], pae: [30, 21, 12], legacy: [22, 12] };
/** Frames of a guest. */
const FRAMES = 64;
const CODE_BYTES = 0x3ff0;

/** One vCPU with memory of its own: code, data, a stack and the tables that map them, of which one is mapped too. */
class Guest {
  readonly cpu: Cpu;
  readonly paging: Paging;
  readonly #memory: GuestMemory;
  readonly #first: number;
  #next: number;
  readonly #faults: Random;
  readonly #entries: ReadonlyArray<readonly [pa: number, value: bigint]>;

  constructor(memory: GuestMemory, cpu: Cpu, paging: Paging, seed: number) {
    this.#memory = memory;
    this.cpu = cpu;
    this.paging = paging;
    this.#first = 1 + cpu.id * FRAMES;
    memory.addFrames(this.#first, this.#first + FRAMES);
    this.#next = this.#first + 1;
    this.#start();
    const random = randomOf(seed);
    for (const [va, pages] of [
      [CODE, 4],
      [DATA, 3],
      [STACK_TOP - 0x4000n, 4],
    ] as const)
      for (let i = 0n; i < pages; i++) this.map(va + i * 4096n, this.#next++);
    this.map(DATA + 0x4000n, this.frame(DATA));
    this.map(DATA + 0x5000n, this.frame(CODE + 0x1000n));
    this.map(TABLE, Math.floor(this.entry(DATA) / 4096));
    const code: number[] = [];
    while (code.length < CODE_BYTES) code.push(...randomInstruction(random, paging === 'long' ? 2 : 1));
    for (const [i, byte] of code.entries()) memory.write8(this.frame(CODE + BigInt(i)) * 4096 + (i & 4095), byte);
    this.#entries = [0, 1, 2, 3, 4, 5].map((i) => {
      const pa = this.entry(DATA + BigInt(i) * 4096n);
      return [pa, this.#read(pa)];
    });
    this.#faults = randomOf(seed ^ 0x5555);
    scramble(this, this.#faults);
  }

  get #width(): 4 | 8 {
    return this.paging === 'legacy' ? 4 : 8;
  }
  #read(pa: number): bigint {
    return this.#width === 8 ? this.#memory.read64(pa) : BigInt(this.#memory.read32(pa));
  }
  #write(pa: number, value: bigint): void {
    if (this.#width === 8) this.#memory.write64(pa, value);
    else this.#memory.write32(pa, Number(value));
  }
  #start(): void {
    const { cpu } = this;
    startLong(cpu, this.#first * 4096);
    if (this.paging === 'long') return;
    cpu.set('efer', 0);
    cpu.set('cr4', this.paging === 'pae' ? 0x620 : 0x600);
    cpu.set('codeMode', 1);
    setFlatSegment(cpu, SEG.cs, 0, 0xc09b);
  }
  /** Machine address of the leaf entry of `va`, making tables where there are none. */
  entry(va: bigint): number {
    let table = this.#first;
    const bits = this.#width === 8 ? 9n : 10n;
    const at = (shift: number): number =>
      table * 4096 + Number((va >> BigInt(shift)) & ((1n << bits) - 1n)) * this.#width;
    for (const shift of SHIFTS[this.paging].slice(0, -1)) {
      const pa = at(shift);
      const rights = this.paging === 'pae' && shift === 30 ? P : P | W | U;
      if ((this.#read(pa) & P) === 0n) this.#write(pa, (BigInt(this.#next++) << 12n) | rights);
      table = Number((this.#read(pa) >> 12n) & 0xfffffn);
    }
    return at(12);
  }
  map(va: bigint, frame: number): void {
    this.#write(this.entry(va), (BigInt(frame) << 12n) | P | W | U);
  }
  frame(va: bigint): number {
    return Number((this.#read(this.entry(va)) >> 12n) & 0xfffffn);
  }
  set(name: keyof typeof GPR, value: bigint): void {
    this.cpu.setGpr(GPR[name], value);
  }
  /** What a fault leads to: other registers, and another place in the code. */
  goOn(): void {
    const { cpu } = this;
    scramble(this, this.#faults);
    if (this.#faults() % 4 === 0) for (const [pa, value] of this.#entries) this.#write(pa, value);
    cpu.rip = CODE + BigInt(this.#faults() % CODE_BYTES);
  }
  /** The vCPU's architectural state and its memory. */
  digest(): string {
    const parts = [stateOf(this.cpu)];
    for (let frame = this.#first; frame < this.#first + FRAMES; frame++) {
      const page = this.#memory.page(frame);
      let hash = 0;
      for (const byte of page) hash = (Math.imul(hash, 0x01000193) + byte) | 0;
      parts.push(hash.toString(16));
    }
    return parts.join(' ');
  }
}

export function stateOf(cpu: Cpu): string {
  const parts = [`rflags=${cpu.rflags}`];
  for (const [name, info] of Object.entries(STATE))
    if (info.architectural)
      for (let i = 0; i < info.count; i++) parts.push(`${name}${i}=${cpu.get(name as SlotName, i)}`);
  return parts.join(' ');
}

/** An engine with a guest a vCPU. */
export class Guests {
  readonly engine: Engine;
  readonly all: readonly Guest[];
  readonly #platform = new TestPlatform();

  constructor(pagings: readonly Paging[], seed: number, options: EngineOptions) {
    const memory = new GuestMemory({
      vcpus: pagings.length,
      slots: pagings.length * FRAMES,
      frameLimit: 1 + pagings.length * FRAMES,
      recordBytes: 1 << 20,
    });
    this.engine = new Engine(memory, { policy: 'x86-64-v2', ...options });
    this.all = pagings.map((paging, id) => new Guest(memory, this.engine.cpus[id]!, paging, seed + id));
    this.#platform.resume = (cpu) => {
      this.all[cpu.id]!.goOn();
      return null;
    };
  }
  /** Runs a guest for exactly `steps` steps. */
  advance(id: number, steps: number): void {
    const cpu = this.engine.cpus[id]!;
    for (let done = 0; done < steps; ) {
      const exit = this.engine.run(cpu, steps - done, this.#platform);
      done += exit.steps;
      if (exit.kind === 'stop') this.#platform.resume(cpu, fault(VECTOR.ud), 'fault');
    }
  }
}
