/** Seeded random programs that stay in loops, branches and calls: what the hot tier translates. */
import { decode } from '../../src/x86/decode/decode.ts';
import type { CodeMode, Insn } from '../../src/x86/form.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { GPR, SEG, STATE } from '../../src/x86/state.ts';
import { CODE, DATA, TestMachine, type TestOptions } from './machine.ts';
import { type Random, randomInstruction, randomOf, scramble } from './random.ts';

/** Loop counters lie here, one a function. */
const COUNTERS = DATA + 0x2f00n;
const RSP = STATE.gpr.offset + GPR.rsp * 8;

const le32 = (value: bigint | number): number[] => {
  const v = Number(BigInt.asUintN(32, BigInt(value)));
  return [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24];
};
const absolute = (opcode: number, extension: number, mode: CodeMode, address: bigint): number[] =>
  mode === 2
    ? [opcode, (extension << 3) | 4, 0x25, ...le32(address)]
    : [opcode, (extension << 3) | 5, ...le32(address)];

/** One random instruction that falls through and leaves rSP alone; seldom one with a memory operand. */
function body(random: Random, mode: CodeMode): number[] {
  for (;;) {
    const bytes = randomInstruction(random, mode);
    const insn = decode(bytes, 0, bytes.length, 0, mode, 'x86-64-v2') as Insn;
    const program = programOf(insn.form)!;
    const last = program.commits.at(-1)?.op;
    if (last === 'jump' || last === 'branch') continue;
    if (program.body.some((node) => node.op === 'load' || node.op === 'probe') && random() % 4 !== 0) continue;
    const sets = program.commits.some((x) => x.op === 'set' && x.ref.kind === 'slot' && x.ref.offset === RSP);
    if (sets || Math.abs(insn.r - RSP) < 8 || Math.abs(insn.m - RSP) < 8) continue;
    return [...bytes];
  }
}

/** A loop of random instructions with branches over some of them, and a return. */
function loopOf(random: Random, mode: CodeMode, counter: bigint): number[] {
  const code = [...absolute(0xc7, 0, mode, counter), ...le32(1 + (random() % 12))];
  const top = code.length;
  for (let i = 1 + (random() % 5); i > 0; i--) {
    code.push(...body(random, mode));
    if (random() % 2) continue;
    const skipped = Array.from({ length: 1 + (random() % 2) }, () => body(random, mode)).flat();
    code.push(0x70 | (random() & 15), skipped.length, ...skipped);
  }
  code.push(...absolute(0x83, 5, mode, counter), 1); // sub dword [counter], 1
  code.push(0x0f, 0x85, ...le32(top - code.length - 6)); // jnz top
  return [...code, 0xc3];
}

/** A {@link TestMachine} with the registers and flags at each of its faults. */
export interface LoopMachine extends TestMachine {
  faults: string[];
}

/** A machine that runs loops for ever; a fault scrambles the registers and starts at another function. */
export function loopMachine(seed: number, options: TestOptions = {}, mode: CodeMode = 2): LoopMachine {
  const random = randomOf(seed * 31 + 7);
  const m = Object.assign(new TestMachine(options), { faults: [] as string[] });
  m.mapNew(CODE, 4);
  m.mapNew(DATA, 3);
  m.cpu.set('codeMode', mode);
  if (mode === 1) {
    m.cpu.set('segmentAttributes', 0xc09b, SEG.cs);
    m.cpu.set('segmentAttributes', 0xc093, SEG.ss);
  }
  // functions cross pages, some are called from another page
  const functions = Array.from({ length: 24 }, (_, i) => loopOf(random, mode, COUNTERS + BigInt(i * 4)));
  const starts: number[] = [];
  let at = 24 * 5 + 5;
  for (const code of functions) {
    starts.push(at);
    at += code.length + (random() % 400);
  }
  const bytes = new Uint8Array(0x4000).fill(0x90);
  for (const [i, start] of starts.entries()) {
    bytes.set([0xe8, ...le32(start - i * 5 - 5)], i * 5);
    bytes.set(functions[i]!, start);
  }
  bytes.set([0xe9, ...le32(-(24 * 5 + 5))], 24 * 5);
  m.write(CODE, bytes);
  for (let i = 0; i < 0x2f00; i += 8)
    m.memory.write64(m.pa(DATA + BigInt(i)), (BigInt(random()) << 32n) | BigInt(random()));
  const faults = randomOf(seed ^ 0x777);
  const place = (): void => {
    scramble(m, faults);
    m.set('rsp', 0xc0_0000n - 0x1000n);
    m.cpu.rip = CODE + BigInt((faults() % 24) * 5);
  };
  m.platform.resume = (cpu) => {
    const registers = Array.from({ length: 16 }, (_, n) => cpu.gpr(n).toString(16));
    m.faults.push(`${cpu.rip.toString(16)} ${cpu.rflags.toString(16)} ${registers.join(' ')}`);
    place();
    return null;
  };
  place();
  return m;
}
