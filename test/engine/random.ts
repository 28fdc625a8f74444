/** Seeded random instruction streams over a {@link TestMachine}: code that faults, loops, stores into itself and crosses pages. */
import { decode } from '../../src/x86/decode/decode.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
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
export function randomInstruction(random: Random): Uint8Array {
  for (;;) {
    const bytes: number[] = [];
    while (random() % 6 === 0) bytes.push(PREFIXES[random() % PREFIXES.length]!);
    if (random() % 2) bytes.push(0x40 | (random() & 15));
    if (random() % 4 === 0) bytes.push(0x0f);
    bytes.push(random() & 255);
    for (let i = 0; i < 12; i++) bytes.push(random() % 3 === 0 ? 0 : random() & 255);
    const insn = decode(new Uint8Array(bytes), 0, 15, 0, 2, 'x86-64-v1');
    if (typeof insn === 'string' || insn.form.system || programOf(insn.form) === null) continue;
    return new Uint8Array(bytes.slice(0, insn.length));
  }
}

const REGISTERS = [
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

function interesting(random: Random): bigint {
  const small = BigInt(random() % 64) - 32n;
  switch (random() % 9) {
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
    default:
      // near a page border of the data area, sometimes off its end
      return DATA + BigInt(random() % 6) * 4096n + small;
  }
}

/** New values for registers and flags. */
export function scramble(m: TestMachine, random: Random): void {
  for (const name of REGISTERS) m.set(name, interesting(random));
  if (random() % 4) m.set('rsp', STACK_TOP - 0x1000n + BigInt(random() % 64) * 8n);
  if (random() % 2) m.set('rcx', BigInt(random() % 20));
  m.cpu.rflags = (random() & 0xcd5) | 2;
}

/** A machine full of random code; faults scramble the registers and go on somewhere else in the code. */
export function randomMachine(seed: number, options: TestOptions = {}): TestMachine {
  const random = randomOf(seed);
  const m = new TestMachine({ ...options, recordBytes: options.recordBytes ?? 1 << 20 });
  m.mapNew(CODE, 4);
  const code: number[] = [];
  while (code.length < 0x3ff0) code.push(...randomInstruction(random));
  m.write(CODE, new Uint8Array(code));
  m.mapNew(DATA, 3);
  m.map(DATA + 0x1000n, Math.floor(m.pa(DATA + 0x1000n) / 4096), P | U);
  // an alias of the first data page, and one of a page of code
  m.map(DATA + 0x4000n, Math.floor(m.pa(DATA) / 4096), P | W | U);
  m.map(DATA + 0x5000n, Math.floor(m.pa(CODE + 0x1000n) / 4096), P | W | U);
  for (let i = 0; i < 0x3000; i += 8)
    m.memory.write64(m.pa(DATA + BigInt(i)), (BigInt(random()) << 32n) | BigInt(random()));
  const faults = randomOf(seed ^ 0x5555);
  scramble(m, faults);
  m.platform.resume = (cpu) => {
    scramble(m, faults);
    cpu.rip = CODE + BigInt(faults() % 0x3ff0);
    return null;
  };
  return m;
}
