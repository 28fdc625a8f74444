import { describe, expect, it } from 'vitest';
import { PanicWatch, panicEntries, panicMessage, panicText, type Sighting } from '../../src/inspect/panic.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import type { Verdict } from '../../src/x86/seam.ts';
import { FakeMoment } from './fake-moment.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const here = (tick: number): Sighting => ({ tick, vcpu: 0, rip: BigInt(tick) });
const POWEROFF = { kind: 'poweroff', message: 'the guest powered off' } as const;
const REPORTED = { kind: 'crash', message: 'the guest reported a crash (SCHEDOP_shutdown 3 on vCPU 0)' } as const;
const REBOOT = { kind: 'reboot', message: 'the guest asked for a reboot' } as const;
const LIMIT = { kind: 'limit', message: 'reached the limit of 9 ticks' } as const;
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

  it.each([
    // panic("VFS: Unable to mount root fs on %s", b) and others of Linux 6.1; the words are those that it prints
    ['VFS: Unable to mount root fs on %s', 'VFS: Unable to mount root fs on unknown-block(0,0)', [0x2000n]],
    ['Attempted to kill init! exitcode=0x%08x\n', 'Attempted to kill init! exitcode=0x0000000b', [11n]],
    ['%s', 'unknown-block(0,0)', [0x2000n]],
    [
      '%s: %ld of %d, %5.2d%%, %c%-3u|%#x %p',
      'unknown-block(0,0): -2 of -1,    07%, x1  |0x2a 0xffff',
      [0x2000n, -2n, 0xffffffffn, 7n, 120n, 1n, 42n, 0xffffn],
    ],
    ['at %pS and %n', 'at 0xffffffff81000000 and ?', [0xffffffff81000000n, 1n]],
  ] as const)('are what panic makes of its format %j', (format, expected, args) => {
    const moment = new FakeMoment();
    const put64 = (address: bigint, value: bigint) =>
      moment.put(address, [...new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, value)).buffer)]);
    Object.assign(moment.registers, { rdi: 0x1000n, rsp: 0x3000n });
    moment.put(0x1000n, text(`${format}\0`));
    moment.put(0x2000n, text('unknown-block(0,0)\0'));
    args.forEach((value, i) => {
      const register = ['rsi', 'rdx', 'rcx', 'r8', 'r9'][i];
      if (register === undefined) put64(0x3008n + 8n * BigInt(i - 5), value);
      else moment.registers[register] = BigInt.asUintN(64, value);
    });
    expect(panicText(moment, 'panic')).toBe(expected);
    // the same as a va_list: registers from the second argument on, then the stack
    moment.registers.rsi = 0x4000n;
    put64(0x4000n, 8n | (48n << 32n));
    put64(0x4008n, 0x3008n);
    put64(0x4010n, 0x5000n);
    args.slice(0, 5).forEach((value, i) => {
      put64(0x5008n + 8n * BigInt(i), value);
    });
    expect(panicText(moment, 'vpanic')).toBe(expected);
  });
  it('are none where the format is no text', () => {
    const moment = new FakeMoment();
    moment.registers.rdi = 0x1000n;
    moment.put(0x1000n, [0xff, 0xfe, 0]);
    expect(panicText(moment, 'panic')).toBeNull();
  });
  it('are the second argument of nmi_panic', () => {
    const moment = new FakeMoment();
    Object.assign(moment.registers, { rdi: 0x9000n, rsi: 0x1000n });
    moment.put(0x1000n, text('Hard LOCKUP\0'));
    expect(panicText(moment, 'nmi_panic')).toBe('Hard LOCKUP');
  });
});

describe('a watch for panics', () => {
  const blind = (): PanicWatch => new PanicWatch(false);
  const seeing = (): PanicWatch => new PanicWatch(true);
  const say = (watch: PanicWatch, words: string, tick = 5): void => watch.written(text(words), () => here(tick));
  const LINUX = '[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n';
  const NETBSD = '[ 1.2] panic: no root\n';

  it('knows where panics begin from the symbols', () => {
    const table = SymbolTable.of(
      [
        { address: 0xffffffff81000010n, name: 'panic', type: 'T' },
        { address: 0xffffffff81000100n, name: 'printk', type: 'T' },
      ],
      { start: 0xffffffff81000000n, end: 0xffffffff82000000n },
    );
    expect([...panicEntries(table)]).toEqual([[0xffffffff81000010n, 'panic']]);
    expect([...panicEntries(SymbolTable.empty)]).toEqual([]);
  });

  it('lets a panic win over the shutdown that follows, at its entry and with the words printed', () => {
    const watch = seeing();
    watch.entered(here(100), 'VFS: Unable to mount root fs');
    watch.entered(here(150), 'a second panic');
    say(watch, LINUX, 200);
    expect(watch.verdict(REPORTED, here(300))).toEqual({
      verdict: { kind: 'panic', message: 'Kernel panic - not syncing: VFS: Unable to mount root fs' },
      at: here(100),
    });
  });

  it('takes the words of the panic itself, not those quoted before it', () => {
    const watch = seeing();
    say(watch, '[ 0.5] Kernel panic - not syncing: of the boot before\n', 50);
    watch.entered(here(100), 'no root');
    expect(watch.verdict(REPORTED, here(300)).verdict.message).toBe('no root');
    say(watch, LINUX, 200);
    expect(watch.verdict(REPORTED, here(300)).verdict.message).toMatch(/Unable to mount/);
  });

  it('believes no words where a panic function is known and was not entered', () => {
    for (const end of [POWEROFF, REBOOT, HANG, REPORTED]) {
      const watch = seeing();
      say(watch, LINUX);
      expect(watch.verdict(end, here(9))).toEqual({ verdict: end, at: here(9) });
    }
  });

  it.each([
    ['Linux with panic=1', LINUX, REBOOT],
    ['Linux, which Xen is told of', LINUX, REPORTED],
    ['Linux that waits for ever', LINUX, HANG],
    ['a BSD that reboots', NETBSD, REBOOT],
    ['a BSD that powers off', NETBSD, POWEROFF],
    ['a line behind a prompt', `login: ${LINUX}`, REBOOT],
    ['a line with its level', '<0>Kernel panic - not syncing: x\n', REBOOT],
  ])('finds %s by its words where there are no symbols', (_what, words, end) => {
    const watch = blind();
    watch.userRuns();
    say(watch, words);
    expect(watch.verdict(end, here(9))).toEqual({
      verdict: { kind: 'panic', message: expect.stringMatching(/^(Kernel panic - |panic: )/) },
      at: here(5),
    });
  });

  it('does not take a quotation for a panic: user mode goes on behind it', () => {
    const watch = blind();
    say(watch, LINUX);
    watch.userRuns();
    expect(watch.verdict(POWEROFF, here(9)).verdict).toEqual(POWEROFF);
    say(watch, NETBSD, 7);
    expect(watch.verdict(REBOOT, here(9)).verdict.message).toBe('panic: no root');
  });
  it.each([
    'pstore: last boot said: Kernel panic - not syncing: Attempted to kill init!\n',
    'boot 12 ended with panic: no root\n',
  ])('does not take a quotation for a panic: %j stands inside a line', (words) => {
    const watch = blind();
    say(watch, words);
    expect(watch.verdict(POWEROFF, here(9)).verdict).toEqual(POWEROFF);
  });

  it('does not take a quotation for a panic: Linux powers off behind none', () => {
    const quoting = blind();
    say(quoting, LINUX);
    say(quoting, 'test 12 of 12 passed\n');
    expect(quoting.verdict(POWEROFF, here(9))).toEqual({ verdict: POWEROFF, at: here(9) });
    const watch = seeing();
    watch.entered(here(5), 'no root');
    say(watch, LINUX, 7);
    expect(watch.verdict(POWEROFF, here(9)).verdict.kind).toBe('panic');
  });

  it('finds a panic by the console alone, also when it comes letter by letter', () => {
    const watch = blind();
    let tick = 0;
    for (const letter of 'boot\npanic: no root\ndb> ') say(watch, letter, tick++);
    expect(watch.verdict(HANG, here(900)).verdict).toEqual({ kind: 'panic', message: 'panic: no root' });
  });

  it('leaves a domain that Xen crashed its own verdict', () => {
    const watch = blind();
    say(watch, 'panic: pinning the new page tables failed: -22\n');
    expect(watch.verdict(DOMAIN_CRASH, here(2))).toEqual({ verdict: DOMAIN_CRASH, at: here(2) });
  });

  it('takes no oops for a panic', () => {
    for (const end of [POWEROFF, HANG, REPORTED]) {
      const watch = blind();
      say(watch, 'Oops: 0002 [#1] SMP\n');
      expect(watch.verdict(end, here(9)).verdict).toEqual(end);
    }
  });

  it('lets a limit of the user stand unless the panic function was entered', () => {
    const words = blind();
    say(words, LINUX);
    expect(words.verdict(LIMIT, here(9)).verdict).toEqual(LIMIT);
    const watch = seeing();
    watch.entered(here(5), 'no root');
    expect(watch.verdict(LIMIT, here(9)).verdict).toEqual({ kind: 'panic', message: 'no root' });
  });

  it('takes an end of the machine for the panic only where the guest said that it panicked', () => {
    const ends = ['unimplemented', 'triple-fault'].map((kind) => ({ kind, message: 'no further' }) as Verdict);
    for (const end of ends) {
      const watch = seeing();
      watch.entered(here(5), 'no root');
      expect(watch.verdict(end, here(9))).toEqual({ verdict: end, at: here(9) });
      say(watch, NETBSD, 7);
      expect(watch.verdict(end, here(9))).toEqual({
        verdict: { kind: 'panic', message: 'panic: no root' },
        at: here(5),
      });
    }
  });

  it('says nothing about a run without one', () => {
    expect(seeing().verdict(POWEROFF, here(7))).toEqual({ verdict: POWEROFF, at: here(7) });
  });
});
