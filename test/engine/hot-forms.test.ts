/** Every form that has a program, each in a loop that the hot tier translates: the hot tier against the cold one. */
import { describe, expect, it } from 'vitest';
import { enumerateForms } from '../../src/x86/decode/enumerate.ts';
import type { CodeMode, Form } from '../../src/x86/form.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { GPR, SEG, STATE } from '../../src/x86/state.ts';
import { CODE, DATA, TestMachine, type TestOptions } from './machine.ts';
import { advance, randomOf, scramble } from './random.ts';

/** Translates nearly everything at once. */
const EAGER = { sampleSteps: 5, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
const SEED = Number(process.env.FIRST ?? 1);
/** Forms a machine, and bytes of code for each. */
const FORMS = 60;
const ROOM = 64;
const ROUNDS = 6;
const RSP = STATE.gpr.offset + GPR.rsp * 8;
const COUNTER = DATA + 0x2f00n;

const le32 = (value: bigint | number): number[] => [
  ...new Uint8Array(Uint32Array.of(Number(BigInt.asUintN(32, BigInt(value)))).buffer),
];
/** `op` on the doubleword at `address`, whose ModRM extension is `extension`. */
const absolute = (op: number, extension: number, mode: CodeMode, address: bigint): number[] =>
  mode === 2 ? [op, (extension << 3) | 4, 0x25, ...le32(address)] : [op, (extension << 3) | 5, ...le32(address)];

/** Forms that fall through and leave rSP alone. */
function falling(form: Form): boolean {
  const program = form.system ? null : programOf(form);
  const last = program?.commits.at(-1)?.op;
  if (program === null || last === 'jump' || last === 'branch') return false;
  return !program.commits.some((x) => x.op === 'set' && x.ref.kind === 'slot' && x.ref.offset === RSP);
}

/** mov dword [counter], 9; top: mov eax, DATA + 0x40; mov ecx, 3; INSTRUCTION; sub dword [counter], 1; jnz top. */
function loopOf(bytes: Uint8Array, mode: CodeMode): number[] {
  const code = [...absolute(0xc7, 0, mode, COUNTER), ...le32(9)];
  const top = code.length;
  code.push(0xb8, ...le32(DATA + 0x40n), 0xb9, ...le32(3), ...bytes);
  code.push(...absolute(0x83, 5, mode, COUNTER), 1);
  return [...code, 0x75, top - code.length - 2];
}

function machineOf(forms: readonly Uint8Array[], mode: CodeMode, seed: number, options: TestOptions): TestMachine {
  const m = new TestMachine({ ...options, recordBytes: 1 << 20 });
  const random = randomOf(seed);
  const code = new Uint8Array(ROOM * forms.length + 5).fill(0x90);
  for (const [i, bytes] of forms.entries()) code.set(loopOf(bytes, mode), i * ROOM);
  code.set([0xe9, ...le32(-code.length)], ROOM * forms.length);
  m.mapNew(CODE, 2);
  m.write(CODE, code);
  m.mapNew(DATA, 3);
  for (let i = 0; i < 0x2f00; i += 4) m.memory.write32(m.pa(DATA + BigInt(i)), random());
  m.cpu.rip = CODE;
  m.cpu.set('codeMode', mode);
  if (mode === 1) {
    m.cpu.set('segmentAttributes', 0xc09b, SEG.cs);
    m.cpu.set('segmentAttributes', 0xc093, SEG.ss);
  }
  const refill = (): void => {
    scramble(m, random);
    for (let i = 0; i < 32; i++) {
      const value =
        (BigInt(random()) << 96n) | (BigInt(random()) << 64n) | (BigInt(random()) << 32n) | BigInt(random());
      if (i < 16) m.cpu.set('xmm', value, i);
      else if (i < 24) m.cpu.set('fpr', BigInt.asUintN(80, value), i - 16);
    }
    // one in four with some exceptions unmasked
    m.cpu.set('mxcsr', random() % 4 === 0 ? random() & 0xffc0 : 0x1f80 | (random() & 0xe040));
  };
  refill();
  // a fault goes on with the next form
  m.platform.resume = (cpu) => {
    const form = Math.floor(Number(cpu.rip - CODE) / ROOM);
    refill();
    cpu.rip = CODE + BigInt(Math.min(form + 1, forms.length) * ROOM);
    return null;
  };
  return m;
}

describe.each([1, 2] satisfies CodeMode[])('the hot tier on every form of mode %i', (mode) => {
  const forms = [...enumerateForms(mode, 'x86-64-v2')].filter(([form]) => falling(form));
  const groups = Array.from({ length: Math.ceil(forms.length / FORMS) }, (_, i) =>
    forms.slice(i * FORMS, (i + 1) * FORMS),
  );
  it.each(groups.map((group) => [group[0]![0].key, group] as const))(
    'agrees with the cold one: %s and on',
    (_, group) => {
      const bytes = group.map(([, x]) => x);
      const hot = machineOf(bytes, mode, SEED, { tier: 'hot', promotion: EAGER });
      const cold = machineOf(bytes, mode, SEED, { tier: 'cold' });
      for (let round = 0; round < ROUNDS; round++) {
        for (const m of [hot, cold]) advance(m, 20 * FORMS);
        expect(hot.digest()).toBe(cold.digest());
      }
      expect(hot.engine.hot!.compiled).toBeGreaterThan(group.length / 2);
    },
  );
});
