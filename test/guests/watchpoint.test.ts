/** A debugger inside the guest: ptrace sets the debug registers of a process, and Linux takes #DB. */
import { afterAll, describe, expect, test } from 'vitest';
import { GuestProgram } from './program.ts';

const program = new GuestProgram('watchpoint.c', ['-O1', '-no-pie']);
const { missing } = program;
afterAll(() => program.close());

describe.skipIf(missing !== null)(`ptrace inside the guest${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('[D-42] a watchpoint fires behind the store, a breakpoint before the instruction, with their bits of DR6; it replays', () => {
    expect(program.boot('debug registers:')).toEqual({
      lines: [
        'debug registers: watchpoint: signal 5, DR6 1, value 42, elsewhere',
        'debug registers: breakpoint: signal 5, DR6 2, value 42, at reached',
        'debug registers: the child ended with 0',
      ],
      verdict: 'poweroff',
    });
    expect(program.replays()).toBe(true);
  });
});
