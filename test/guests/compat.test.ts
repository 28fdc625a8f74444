/** A static 32-bit program as PID 1 of Debian's amd64 kernel: every way into the kernel that its CPU has. */
import { afterAll, describe, expect, test } from 'vitest';
import { GuestProgram } from './program.ts';

const program = new GuestProgram('compat.S', ['-m32', '-nostdlib']);
const { missing } = program;
afterAll(() => program.close());

describe.skipIf(missing !== null)(
  `a 32-bit program under an amd64 kernel${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    test('[D-46] [E-01] of an AMD CPU uses the vDSO by SYSCALL, and INT 0x80', () => {
      expect(program.boot('32 bits:')).toEqual({
        lines: ['32 bits: by the vDSO', '32 bits: by INT 0x80'],
        verdict: 'poweroff',
      });
    });
    test('[D-46] [E-01] of an Intel CPU uses the vDSO by SYSENTER, INT 0x80, and SYSENTER', () => {
      expect(program.boot('32 bits:', 'x86-64-v1-intel')).toEqual({
        lines: ['32 bits: by the vDSO', '32 bits: by INT 0x80', '32 bits: by SYSENTER'],
        verdict: 'poweroff',
      });
    });
  },
);
