import { describe, expect, it } from 'vitest';
import { backtrace, type Frame } from '../../src/inspect/backtrace.ts';
import { callerOf, functionName, isReporting } from '../../src/inspect/caller.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { FakeMoment } from './fake-moment.ts';

const TEXT = 0xffffffff81000000n;
const NAMES = [
  'start_kernel',
  'mount_root',
  'panic',
  'printk',
  'console_write',
  'stale',
  '__x86_indirect_thunk_rax',
  'asm_exc_page_fault',
];
/** Functions of 256 bytes, one after the other. */
const at = (name: string, offset = 0): bigint => TEXT + BigInt(NAMES.indexOf(name) * 256 + offset);
const symbols = SymbolTable.of(
  NAMES.map((name) => ({ address: at(name), name, type: 'T' })),
  { start: TEXT, end: TEXT + 0x1000n },
);
const STACK = 0xffffc90000001000n;

/** Memory of NOPs with calls: `calls` are [caller, offset of the return address, callee or null for `call rax`]. */
function kernel(calls: readonly (readonly [string, number, string | null])[]): FakeMoment {
  const moment = new FakeMoment();
  moment.put(TEXT, new Uint8Array(0x1000).fill(0x90));
  for (const [caller, offset, callee] of calls) {
    const end = at(caller, offset);
    if (callee === null) moment.put(end - 2n, [0xff, 0xd0]);
    else {
      moment.put(end - 5n, [0xe8]);
      moment.put(end - 4n, new Uint8Array(Int32Array.of(Number(at(callee) - end)).buffer));
    }
  }
  moment.registers.rsp = STACK;
  return moment;
}
const names = (frames: readonly Frame[]): (string | null)[] => frames.map(functionName);

describe('backtrace', () => {
  const calls = [
    ['start_kernel', 0x50, 'mount_root'],
    ['mount_root', 0x60, 'panic'],
    ['panic', 0x40, 'printk'],
    ['printk', 0x30, null],
  ] as const;

  it('scans the stack for words behind a call, without frame pointers', () => {
    const moment = kernel(calls);
    moment.registers.rip = at('console_write', 8);
    const stack = [1n, at('printk', 0x30), 0n, at('panic', 0x40), 7n, at('mount_root', 0x60), at('start_kernel', 0x50)];
    for (const [i, word] of stack.entries()) moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual([
      'console_write',
      'printk',
      'panic',
      'mount_root',
      'start_kernel',
    ]);
  });

  it('prefers the call of the function below to what an earlier call left', () => {
    const moment = kernel([...calls, ['stale', 0x20, 'console_write']]);
    moment.registers.rip = at('printk', 8);
    // The word into `stale` lies nearer, but it called something else.
    const stack = [at('stale', 0x20), 0n, at('panic', 0x40), at('mount_root', 0x60), at('start_kernel', 0x50)];
    for (const [i, word] of stack.entries()) moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['printk', 'panic', 'mount_root', 'start_kernel']);
  });

  it('prefers a call through a pointer or a thunk to a call of another function', () => {
    // In Linux 6.1 hvc_console_print is called through __x86_indirect_thunk_rax; a return into record_print_text is left nearer.
    const moment = kernel([
      ['stale', 0x20, 'panic'],
      ['start_kernel', 0x50, '__x86_indirect_thunk_rax'],
    ]);
    moment.registers.rip = at('console_write', 8);
    for (const [i, word] of [at('stale', 0x20), 0n, at('start_kernel', 0x50)].entries())
      moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['console_write', 'start_kernel']);
  });

  it('follows a tail call: the function called jumped to the one below', () => {
    // As Linux's _printk calls vprintk, which jumps to vprintk_emit.
    const moment = kernel([
      ['mount_root', 0x60, 'panic'],
      ['start_kernel', 0x50, null],
    ]);
    const jump = at('panic', 0x90);
    moment.put(jump, [0xe9, ...new Uint8Array(Int32Array.of(Number(at('printk') - jump) - 5).buffer)]);
    moment.registers.rip = at('printk', 8);
    for (const [i, word] of [at('start_kernel', 0x50), at('mount_root', 0x60)].entries())
      moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['printk', 'mount_root']);
  });

  it('believes a word whose own function was called from above before one nobody called', () => {
    // As in Linux's panic: it comes to xen_reboot by a jump through a pointer, and a thread's first frame lies above.
    const moment = kernel([
      ['panic', 0x40, 'printk'],
      ['mount_root', 0x60, 'panic'],
      ['start_kernel', 0x50, null],
    ]);
    moment.registers.rip = at('console_write', 8);
    for (const [i, word] of [at('panic', 0x40), at('mount_root', 0x60), at('start_kernel', 0x50)].entries())
      moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['console_write', 'panic', 'mount_root', 'start_kernel']);
  });

  it('goes on below an exception with the interrupted frame', () => {
    const moment = kernel([
      ['asm_exc_page_fault', 0x30, 'panic'],
      ['start_kernel', 0x50, 'mount_root'],
    ]);
    moment.registers.rip = at('panic', 8);
    const interrupted = at('mount_root', 0x77);
    const rsp = STACK + 80n;
    const stack = [at('asm_exc_page_fault', 0x30), 5n, 6n, interrupted, 0xe030n, 0x246n, rsp, 0xe02bn, 0n, 0n];
    for (const [i, word] of [...stack, at('start_kernel', 0x50)].entries()) moment.put64(STACK + BigInt(8 * i), word);
    const frames = backtrace(moment, symbols);
    expect(names(frames)).toEqual(['panic', 'asm_exc_page_fault', 'mount_root', 'start_kernel']);
    expect(frames[2]).toEqual({ rip: interrupted, symbol: 'mount_root+0x77' });
    expect(callerOf(frames)).toBe('mount_root+0x77');
  });

  it('takes no word that points into text but not behind a call', () => {
    const moment = kernel(calls);
    moment.registers.rip = at('panic', 8);
    for (const [i, word] of [at('printk', 0x77), at('mount_root', 0x60)].entries())
      moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['panic', 'mount_root']);
  });

  it('follows frame pointers where they are a chain of return addresses', () => {
    const moment = kernel(calls);
    moment.registers.rip = at('panic', 8);
    moment.registers.rbp = STACK + 16n;
    const stack = [at('printk', 0x30), 0n, STACK + 48n, at('mount_root', 0x60), 0n, 0n, 0n, at('start_kernel', 0x50)];
    for (const [i, word] of stack.entries()) moment.put64(STACK + BigInt(8 * i), word);
    expect(names(backtrace(moment, symbols))).toEqual(['panic', 'mount_root', 'start_kernel']);
  });

  it('names the function of a call that never returns, although its return address lies in the next one', () => {
    const moment = kernel([['mount_root', 0x100, 'panic']]);
    moment.registers.rip = at('panic');
    moment.put64(STACK, at('mount_root', 0x100));
    expect(backtrace(moment, symbols)[1]).toEqual({ rip: at('panic'), symbol: 'mount_root+0x100' });
  });

  it('has the current instruction alone when the stack is not mapped', () => {
    const moment = kernel([]);
    moment.registers.rip = 0x1234n;
    moment.registers.rsp = 0x10n;
    expect(backtrace(moment, symbols)).toEqual([{ rip: 0x1234n, symbol: null }]);
  });
});

describe('caller', () => {
  const frames = (...list: string[]): Frame[] => list.map((symbol, i) => ({ rip: BigInt(i), symbol }));

  // As Linux 6.1 prints its panic without a root: console code, helpers on the way, then the function that gave up.
  it('is the first frame outside console and panic code', () => {
    const stack = frames(
      'xen_hypercall_pv+0x9',
      'notify_remote_via_evtchn+0x30',
      'domU_write_console+0x9e',
      'hvc_console_print+0xf0',
      'console_emit_next_record.constprop.0+0x100',
      'console_unlock+0x12a',
      'vprintk_emit+0x1a0',
      '_printk+0x48',
      'panic+0x10a',
      'mount_block_root+0x1c9',
      'mount_root+0x1f',
    );
    expect(callerOf(stack)).toBe('mount_block_root+0x1c9');
  });

  it('is the faulting function behind an oops', () => {
    const stack = frames(
      'panic',
      'oops_end.cold+0x15',
      'page_fault_oops+0x1b0',
      'exc_page_fault+0x62',
      'asm_exc_page_fault+0x22',
      'xenbus_probe+0x10',
    );
    expect(callerOf(stack)).toBe('xenbus_probe+0x10');
  });

  it('is the current function where nothing prints or panics', () => {
    expect(callerOf(frames('memcpy+0x3', 'copy_initrd+0x10'))).toBe('memcpy+0x3');
    expect(callerOf(frames('map_image+0x5b', 'build_tables+0x1a'))).toBe('map_image+0x5b');
    expect(callerOf([{ rip: 1n, symbol: null }])).toBeNull();
  });

  it('knows the names of our own kernels and passes no ordinary function by', () => {
    for (const name of ['print', 'panic', 'vprintk', '_printk', 'dump_stack', 'show_regs', '__die', 'prom_printf'])
      expect([name, isReporting(name)]).toEqual([name, true]);
    for (const name of [
      'mount_block_root',
      'kernel_init',
      'activate_tables',
      'do_one_initcall',
      'xenbus_probe',
      'start',
    ])
      expect([name, isReporting(name)]).toEqual([name, false]);
  });
});
