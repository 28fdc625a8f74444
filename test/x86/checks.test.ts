/** What comes first of the faults of one access, as AMD family 1Ah has it (5 million cases of tools/silicon.ts, seed 7701). */
import { describe, expect, it } from 'vitest';
import { accessFault } from '../../src/x86/checks.ts';
import { FLAG, SEG, VECTOR } from '../../src/x86/state.ts';
import { TestMachine } from '../engine/machine.ts';

const CR0_AM = 1n << 18n;

describe('an unaligned access under alignment checks', () => {
  const { cpu } = new TestMachine();
  cpu.set('cpl', 3);
  cpu.set('cr0', cpu.get('cr0') | CR0_AM);
  cpu.rflags |= FLAG.ac;
  const vectorAt = (address: bigint): number | undefined => accessFault(cpu, SEG.ds, address, 8, false)?.vector;

  it('raises #AC', () => {
    expect(vectorAt(0x7ffffffffff1n)).toBe(VECTOR.ac);
    expect(vectorAt(0x1001n)).toBe(VECTOR.ac);
    expect(vectorAt(0xffff_8000_0000_0001n)).toBe(VECTOR.ac);
  });
  it('leaves the fault to the MMU where its first byte, or only its last ones, lie at addresses that are not canonical', () => {
    expect(vectorAt(0x8000_0000_0001n)).toBeUndefined();
    expect(vectorAt(0x7fff_ffff_fffbn)).toBeUndefined();
    expect(vectorAt(0x7fff_ffff_ffffn)).toBeUndefined();
    expect(vectorAt(0xffff_7fff_ffff_fff9n)).toBeUndefined();
  });
});
