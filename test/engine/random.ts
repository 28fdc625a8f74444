/** Seeded random instruction streams over a {@link TestMachine}: code that faults, loops, stores into itself and crosses pages. */
import { decode } from '../../src/x86/decode/decode.ts';
import type { CodeMode } from '../../src/x86/form.ts';
import { fault } from '../../src/x86/seam.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { GPR, SEG, VECTOR } from '../../src/x86/state.ts';
import { CODE, DATA, P, STACK_TOP, TestMachine, type TestOptions, U, W } from './machine.ts';

export type Random = () => number;

/** A seeded generator of numbers below 2^32 (xorshift with a multiplicative finish). */
export function randomOf(seed: number): Random {
  let x = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return Math.imul(x, 0x9e3779b1) >>> 0;
  };
}

const PREFIXES = [0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x64, 0x65, 0x2e];

/** Bytes of one random instruction that has semantics. */
export function randomInstruction(random: Random, mode: CodeMode): Uint8Array {
  for (;;) {
    const bytes: number[] = [];
    while (random() % 6 === 0) bytes.push(PREFIXES[random() % PREFIXES.length]!);
    if (mode === 2 && random() % 2) bytes.push(0x40 | (random() & 15));
    if (random() % 4 === 0) bytes.push(0x0f, ...[[], [], [0x38], [0x3a]][random() & 3]!);
    bytes.push(random() & 255);
    for (let i = 0; i < 12; i++) bytes.push(random() % 3 === 0 ? 0 : random() & 255);
    const insn = decode(new Uint8Array(bytes), 0, 15, 0, mode, 'x86-64-v2');
    if (typeof insn === 'string' || insn.form.system || programOf(insn.form) === null) continue;
    return new Uint8Array(bytes.slice(0, insn.length));
  }
}

export const REGISTERS = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;

/** The leaf table of the data area, mapped for writing. */
export const TABLE = 0xa0_0000n;

function interesting(random: Random): bigint {
  const small = BigInt(random() % 64) - 32n;
  switch (random() % 10) {
    case 0:
      return small & 0xffffffffffffffffn;
    case 1:
      return (BigInt(random()) << 32n) | BigInt(random());
    case 2:
      return CODE + BigInt(random() % 0x4000);
    case 3:
      return 0x7fff_ffff_fff8n + small;
    case 4:
      return BigInt(random() % 9);
    case 5:
      return TABLE + BigInt(random() % 64);
    default:
      // near a page border of the data area, sometimes off its end
      return DATA + BigInt(random() % 6) * 4096n + small;
  }
}

/** New values for registers and flags. */
export function scramble(m: Pick<TestMachine, 'cpu' | 'set'>, random: Random): void {
  for (const name of REGISTERS) m.set(name, interesting(random));
  if (random() % 4) m.set('rsp', STACK_TOP - 0x1000n + BigInt(random() % 64) * 8n);
  if (random() % 2) m.set('rcx', BigInt(random() % 20));
  m.cpu.rflags = (random() & 0xcd5) | 2;
}

/** A machine full of random code; faults scramble the registers and go on somewhere else in the code. */
export function randomMachine(seed: number, options: TestOptions = {}, mode: CodeMode = 2): TestMachine {
  const random = randomOf(seed);
  const m = new TestMachine({ ...options, recordBytes: options.recordBytes ?? 1 << 20 });
  m.mapNew(CODE, 4);
  m.cpu.set('codeMode', mode);
  if (mode === 1) {
    m.cpu.set('segmentAttributes', 0xc09b, SEG.cs);
    m.cpu.set('segmentAttributes', 0xc093, SEG.ss);
    m.cpu.set('segmentBase', 0x123n, SEG.gs);
  }
  const code: number[] = [];
  while (code.length < 0x3ff0) code.push(...randomInstruction(random, mode));
  m.write(CODE, new Uint8Array(code));
  m.mapNew(DATA, 3);
  m.map(DATA + 0x1000n, Math.floor(m.pa(DATA + 0x1000n) / 4096), P | U);
  // an alias of the first data page, and one of a page of code
  m.map(DATA + 0x4000n, Math.floor(m.pa(DATA) / 4096), P | W | U);
  m.map(DATA + 0x5000n, Math.floor(m.pa(CODE + 0x1000n) / 4096), P | W | U);
  for (let i = 0; i < 0x3000; i += 8)
    m.memory.write64(m.pa(DATA + BigInt(i)), (BigInt(random()) << 32n) | BigInt(random()));
  const faults = randomOf(seed ^ 0x5555);
  m.map(TABLE, Math.floor(m.entry(DATA) / 4096));
  const entries = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => m.pte(DATA + BigInt(i) * 4096n));
  scramble(m, faults);
  m.platform.resume = (cpu) => {
    scramble({ cpu, set: (name, value) => cpu.setGpr(GPR[name], value) }, faults);
    if (faults() % 4 === 0) for (const [i, entry] of entries.entries()) m.memory.write64(m.entry(DATA) + i * 8, entry);
    cpu.rip = CODE + BigInt(faults() % 0x3ff0);
    return null;
  };
  return m;
}

/** Runs a {@link randomMachine} for exactly `steps` steps; where an instruction is not implemented it goes on elsewhere. */
export function advance(m: TestMachine, steps: number, cpu = m.cpu): void {
  for (let done = 0; done < steps; ) {
    const exit = m.engine.run(cpu, steps - done, m.platform);
    done += exit.steps;
    if (exit.kind === 'stop') m.platform.resume(cpu, fault(VECTOR.ud), 'fault');
  }
}
