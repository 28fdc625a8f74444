import { describe, expect, it } from 'vitest';
import { PanicWatch, panicEntries, panicFormat, panicMessage, type Sighting } from '../../src/inspect/panic.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import type { Verdict } from '../../src/x86/seam.ts';
import { FakeMoment } from './fake-moment.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const here = (tick: number): Sighting => ({ tick, vcpu: 0, rip: BigInt(tick) });
const POWEROFF = { kind: 'poweroff', message: 'the guest powered off' } as const;
const REPORTED = { kind: 'crash', message: 'the guest reported a crash (SCHEDOP_shutdown 3 on vCPU 0)' } as const;
const HANG = { kind: 'hang', message: 'nothing new for 30 s' } as const;
const DOMAIN_CRASH = { kind: 'crash', message: 'domain_crash: create_bounce_frame' } as const;

// Lines as Debian's 6.1 kernel and NetBSD 6.99 print them.
describe('the words of a panic', () => {
  it.each([
    [
      '[    1.234567] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n' +
        '[    1.3] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\n',
      'Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)',
    ],
    ['panic: cpu1: time has not advanced\r\n', 'panic: cpu1: time has not advanced'],
    ['[   1.0300] panic: vfs_mountroot: no root\n', 'panic: vfs_mountroot: no root'],
    [
      '[    0.9] BUG: unable to handle page fault for address: ffffffffffffffd8\n',
      'BUG: unable to handle page fault for address: ffffffffffffffd8',
    ],
    ['[    0.9] Oops: 0000 [#1] PREEMPT SMP NOPTI\n', 'Oops: 0000 [#1] PREEMPT SMP NOPTI'],
  ])('are found in %j', (console, message) => {
    expect(panicMessage(console)).toBe(message);
  });

  it.each([
    'Kernel command line: panic=-1 oops=panic\n',
    'systemd: do not panic: all is well\n',
    'Freeing unused kernel memory\n',
    '',
  ])('are not found in %j', (console) => {
    expect(panicMessage(console)).toBeNull();
  });

  it('are the format string at the entry of panic', () => {
    const moment = new FakeMoment();
    moment.registers.rdi = 0x1000n;
    moment.put(0x1000n, text('VFS: Unable to mount root fs on %s\0'));
    expect(panicFormat(moment)).toBe('VFS: Unable to mount root fs on %s');
    moment.put(0x1000n, [0xff, 0xfe, 0]);
    expect(panicFormat(moment)).toBeNull();
  });
});

describe('a watch for panics', () => {
  it('knows where panics begin from the symbols', () => {
    const table = SymbolTable.of(
      [
        { address: 0xffffffff81000010n, name: 'panic', type: 'T' },
        { address: 0xffffffff81000100n, name: 'printk', type: 'T' },
      ],
      { start: 0xffffffff81000000n, end: 0xffffffff82000000n },
    );
    expect(panicEntries(table)).toEqual([0xffffffff81000010n]);
    expect(panicEntries(SymbolTable.empty)).toEqual([]);
  });

  it('lets a panic win over the shutdown that follows, at its entry and with the words printed', () => {
    const watch = new PanicWatch();
    watch.entered(here(100), 'VFS: Unable to mount root fs on %s');
    watch.entered(here(150), 'a second panic');
    watch.written(text('[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n'), () => here(200));
    expect(watch.verdict(REPORTED, here(300))).toEqual({
      verdict: { kind: 'panic', message: 'Kernel panic - not syncing: VFS: Unable to mount root fs' },
      at: here(100),
    });
  });

  it('finds a panic by the console alone, also when it comes letter by letter', () => {
    const watch = new PanicWatch();
    let tick = 0;
    for (const letter of 'boot\npanic: no root\ndb> ') watch.written(text(letter), () => here(tick++));
    expect(watch.panicked).toBe(true);
    expect(watch.verdict(HANG, here(900)).verdict).toEqual({ kind: 'panic', message: 'panic: no root' });
  });

  it('leaves a domain that Xen crashed its own verdict', () => {
    const watch = new PanicWatch();
    watch.written(text('panic: pinning the new page tables failed: -22\n'), () => here(1));
    expect(watch.verdict(DOMAIN_CRASH, here(2))).toEqual({ verdict: DOMAIN_CRASH, at: here(2) });
  });

  it('takes an oops for the end only where the guest did not go on', () => {
    const watch = new PanicWatch();
    watch.written(text('Oops: 0002 [#1] SMP\n'), () => here(5));
    expect(watch.panicked).toBe(false);
    expect(watch.verdict(POWEROFF, here(9)).verdict).toEqual(POWEROFF);
    expect(watch.verdict(HANG, here(9))).toEqual({
      verdict: { kind: 'panic', message: 'Oops: 0002 [#1] SMP' },
      at: here(5),
    });
  });

  it('takes an end of the machine for the panic only where the guest said that it panicked', () => {
    const ends = ['unimplemented', 'triple-fault'].map((kind) => ({ kind, message: 'no further' }) as Verdict);
    for (const end of ends) {
      const watch = new PanicWatch();
      watch.entered(here(5), 'no root');
      expect(watch.verdict(end, here(9))).toEqual({ verdict: end, at: here(9) });
      watch.written(text('panic: no root\n'), () => here(7));
      expect(watch.verdict(end, here(9))).toEqual({
        verdict: { kind: 'panic', message: 'panic: no root' },
        at: here(5),
      });
    }
  });

  it('says nothing about a run without one', () => {
    expect(new PanicWatch().verdict(POWEROFF, here(7))).toEqual({ verdict: POWEROFF, at: here(7) });
  });
});
