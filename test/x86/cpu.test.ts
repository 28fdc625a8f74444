import { expect, test } from 'vitest';
import { Cpu, type LinearMemory } from '../../src/x86/cpu.ts';
import { GPR, STATE_BYTES } from '../../src/x86/state.ts';

const cpu = new Cpu(new DataView(new ArrayBuffer(STATE_BYTES)), 0, 0, {} as LinearMemory);

// SDM vol. 1 3.5: the instruction pointer has 64 bits in 64-bit mode, 32 in the others.
test.each([
  [0x1000n, 3, 2, 0x1003n],
  [0xffff_fffen, 3, 2, 0x1_0000_0001n],
  [0xffff_ffff_ffff_fffen, 3, 2, 1n],
  [0x1000n, 3, 1, 0x1003n],
  [0xffff_fffen, 3, 1, 1n],
] as const)('rip %s moves on by %i in code mode %i', (from, bytes, mode, to) => {
  cpu.rip = from;
  cpu.advance(bytes, mode);
  expect(cpu.rip).toBe(to);
});

test('a 32-bit write clears the upper half of a register', () => {
  cpu.setGpr(GPR.rax, 0x1122_3344_5566_7788n);
  expect(cpu.gpr32(GPR.rax)).toBe(0x5566_7788);
  cpu.setGpr32(GPR.rax, -1);
  expect(cpu.gpr(GPR.rax)).toBe(0xffff_ffffn);
});

test('steps are exact beyond 32 bits', () => {
  cpu.set('steps', 0x1_2345_6789n);
  expect(cpu.steps).toBe(0x1_2345_6789);
});
