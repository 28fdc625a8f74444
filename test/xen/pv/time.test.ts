import { describe, expect, test } from 'vitest';
import { StateTracker } from '../../../src/machine/tracker.ts';
import { NEVER_NS, tscAt, tscScale } from '../../../src/xen/pv/time.ts';
import { HANDLER, PvGuest, words } from '../../support/pv-guest.ts';

const MS = 1_000_000;
const PENDING = 0x800;

/** The record of vCPU 0 (struct vcpu_time_info). */
function record(guest: PvGuest) {
  const at = guest.xen.vcpus[0]!.infoAddress + 0x20;
  const { memory } = guest.xen;
  return {
    version: memory.read32(at),
    tsc: memory.read64(at + 8),
    systemTime: memory.read64(at + 16),
    mul: BigInt(memory.read32(at + 24)),
    shift: (memory.read8(at + 28) << 24) >> 24,
    flags: memory.read8(at + 29),
  };
}
/** System time as a guest computes it from the record and the TSC. */
function guestTime(guest: PvGuest): bigint {
  const { tsc, systemTime, mul, shift } = record(guest);
  guest.exec('0f 31');
  const delta = ((guest.get('rdx') << 32n) | guest.get('rax')) - tsc;
  return systemTime + (((shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift)) * mul) >> 32n);
}
const timerPending = (guest: PvGuest, port: number): boolean => ((guest.shared64(PENDING) >> BigInt(port)) & 1n) === 1n;
const clearPending = (guest: PvGuest): void => {
  guest.xen.memory.write64(guest.xen.sharedInfo + PENDING, 0n);
  guest.setInfo(0, 0);
  guest.setInfo(8, 0);
};
/** A guest in an endless loop, events masked, the periodic timer stopped, VIRQ_TIMER bound. */
function idle(): { guest: PvGuest; port: number } {
  const guest = new PvGuest();
  const port = guest.bindTimer();
  guest.ok(24, 7, 0);
  guest.setInfo(1, 1);
  return { guest, port };
}
const loop = (guest: PvGuest): void => guest.at('eb fe');

describe('the record', () => {
  test('[D-38] [A-07] scales the TSC to nanoseconds within 1 ppm, for shifts from -2 to 2', () => {
    for (const [khz, shift] of [
      [4_500_000, -2],
      [2_500_000, -1],
      [1_200_000, 0],
      [600_000, 1],
      [300_000, 2],
    ] as const) {
      const scale = tscScale(khz);
      expect(scale.shift).toBe(shift);
      // freq = (1e9 << 32) / mul, then shifted back: cpu_get_tsc_freq of NetBSD
      const frequency = (1_000_000_000n << 32n) / BigInt(scale.mul);
      const hertz = shift < 0 ? frequency << BigInt(-shift) : frequency >> BigInt(shift);
      expect(Math.abs(Number(hertz) / (khz * 1000) - 1)).toBeLessThan(1e-6);
    }
  });
  test('[D-38] [X-01] gives the system time of the machine, exact to the scaling', () => {
    for (const tscKhz of [1_000_000, 2_400_000, 333_333]) {
      const guest = new PvGuest({ tscKhz });
      expect(record(guest)).toMatchObject({ version: 2, tsc: 0n, systemTime: 0n });
      loop(guest);
      guest.step(3 * MS + 17);
      const before = guest.machine.now();
      expect(Math.abs(Number(guestTime(guest)) - before)).toBeLessThan(10);
    }
  });
  test('[A-07] [D-38] moves by two at least once a second, even at rest', () => {
    const { guest } = idle();
    const { version } = record(guest);
    guest.ok(15, guest.machine.now() + 2_500 * MS);
    guest.prepare(29, 1);
    guest.step(2);
    guest.setInfo(1, 1); // block has unmasked
    expect(record(guest).version).toBe(version + 2); // refreshed on coming back
    loop(guest);
    guest.machine.loop.clock.idleNs += 1_500 * MS;
    guest.step();
    expect(record(guest).version).toBe(version + 4);
    expect(record(guest).systemTime).toBeGreaterThan(3_900_000_000n);
  });
  test('[D-38] the wall clock is seconds since 1970 at system time 0', () => {
    const guest = new PvGuest();
    expect(guest.shared64(0xc00)).toBe((1_767_225_600n << 32n) | 2n);
    expect(guest.shared64(0xc08)).toBe(0n);
  });
  test('[X-01] the TSC is a pure function of time', () => {
    expect(BigInt(tscAt(1_000_000_000, 2_400_000))).toBe(2_400_000_000n);
    const guest = new PvGuest({ tscKhz: 3_000_000 });
    const tick = guest.machine.tick;
    guest.exec('0f 31');
    expect((guest.get('rdx') << 32n) | guest.get('rax')).toBe(BigInt(tick) * 3n);
  });
});

describe('timers', () => {
  test('[D-39] the periodic timer is on at the start, every 10 ms, and can be stopped', () => {
    const guest = new PvGuest();
    const port = guest.bindTimer();
    guest.setInfo(1, 1);
    loop(guest);
    guest.machine.runTo(10 * MS - 1);
    expect(timerPending(guest, port)).toBe(false);
    guest.machine.runTo(10 * MS);
    expect(timerPending(guest, port)).toBe(true);
    clearPending(guest);
    guest.machine.runTo(20 * MS);
    expect(timerPending(guest, port)).toBe(true);
    clearPending(guest);
    expect(guest.call(24, 7, 0)).toBe(0); // must return 0
    loop(guest);
    guest.machine.runTo(31 * MS);
    expect(timerPending(guest, port)).toBe(false);
  });
  test('[D-39] set_periodic_timer: from 1 ms on', () => {
    const { guest, port } = idle();
    expect(guest.call(24, 6, 0, guest.put(words(999_999)))).toBe(-22);
    expect(guest.call(24, 6, 0, guest.put(words(2n ** 63n)))).toBe(-22);
    expect(guest.call(24, 6, 0, 0x1000)).toBe(-14);
    guest.ok(24, 6, 0, guest.put(words(2 * MS)));
    const start = guest.machine.now();
    loop(guest);
    guest.step(2 * MS - 2);
    expect(timerPending(guest, port)).toBe(false);
    guest.step(2);
    expect(timerPending(guest, port)).toBe(true);
    expect(guest.machine.now() - start).toBe(2 * MS);
  });
  test('[D-39] [A-28] set_timer_op fires at its absolute time, once; 0 stops it', () => {
    const { guest, port } = idle();
    const at = guest.machine.now() + 1000;
    guest.ok(15, at);
    loop(guest);
    guest.machine.runTo(at - 1);
    expect(timerPending(guest, port)).toBe(false);
    guest.machine.runTo(at);
    expect(timerPending(guest, port)).toBe(true);
    clearPending(guest);
    guest.step(5000);
    expect(timerPending(guest, port)).toBe(false);
    guest.ok(15, guest.machine.now() + 1000);
    guest.ok(15, 0);
    loop(guest);
    guest.step(5000);
    expect(timerPending(guest, port)).toBe(false);
  });
  test('[D-39] [A-63] a time in the past fires now; a negative or very far one after 100 ms; never an error', () => {
    const { guest, port } = idle();
    loop(guest);
    guest.step(5000);
    guest.ok(15, 10);
    loop(guest);
    guest.step();
    expect(timerPending(guest, port)).toBe(true);
    for (const timeout of [-1, BigInt(guest.machine.now()) + 2n ** 51n, 2n ** 63n]) {
      clearPending(guest);
      guest.ok(15, timeout);
      expect(guest.xen.vcpus[0]!.singleshot! - guest.machine.now()).toBe(100 * MS - 1);
    }
    guest.ok(15, BigInt(guest.machine.now()) + 2n ** 49n);
    expect(guest.xen.vcpus[0]!.singleshot! - guest.machine.now()).toBe(2 ** 49 - 1);
  });
  test('[D-39] the singleshot timer of vcpu_op is the same one', () => {
    const { guest, port } = idle();
    guest.ok(15, guest.machine.now() + 50 * MS);
    const at = guest.machine.now() + 2000;
    guest.ok(24, 8, 0, guest.put(words(at, 0)));
    loop(guest);
    guest.machine.runTo(at);
    expect(timerPending(guest, port)).toBe(true);
    clearPending(guest);
    guest.ok(24, 8, 0, guest.put(words(guest.machine.now() + 2000, 0)));
    guest.ok(24, 9, 0);
    loop(guest);
    guest.step(5000);
    expect(timerPending(guest, port)).toBe(false);
  });
  test('[D-39] a singleshot in the past raises its event at once, or is -ETIME when it must be in the future', () => {
    const { guest, port } = idle();
    loop(guest);
    guest.step(5000);
    expect(guest.call(24, 8, 0, guest.put(words(10, 1)))).toBe(-62);
    expect(timerPending(guest, port)).toBe(false);
    guest.ok(24, 8, 0, guest.put(words(10, 0)));
    expect(timerPending(guest, port)).toBe(true);
  });
  test('[X-02] an expiry applies on reaching its tick, whatever the slices', () => {
    const runs = [1, 7, 1000, 1 << 20].map((slice) => {
      const guest = new PvGuest();
      guest.bindTimer();
      guest.callbacks(HANDLER);
      guest.write(HANDLER, Uint8Array.of(0x48, 0xff, 0xc3, 0xeb, 0xfb)); // 1: inc rbx; jmp 1
      guest.setInfo(1, 0);
      guest.set({ rbx: 0 });
      loop(guest);
      guest.machine.runTo(10 * MS - 1000);
      while (guest.machine.tick < 10 * MS + 1000)
        guest.machine.runTo(Math.min(guest.machine.tick + slice, 10 * MS + 1000));
      return [guest.get('rbx'), guest.cpu.rip, guest.cpu.rsp, guest.u64(guest.cpu.rsp + 16n)];
    });
    expect(runs[0]![0]).toBe(500n);
    for (const run of runs) expect(run).toEqual(runs[0]);
  });
});

describe('the watchdog', () => {
  test('[D-37] ends the domain in Xen’s words', () => {
    const { guest } = idle();
    const set = (id: number, seconds: number): number =>
      guest.call(29, 6, guest.put(words(BigInt(id) | (BigInt(seconds) << 32n))));
    expect(set(1, 5)).toBe(-22);
    expect(set(3, 5)).toBe(-22);
    expect([set(0, 5), set(0, 6), set(0, 7)]).toEqual([1, 2, -28]);
    expect(set(1, 0)).toBe(0);
    guest.prepare(29, 1);
    expect(guest.stopped(10)).toEqual({ kind: 'crash', message: expect.stringContaining('watchdog') });
    expect(guest.log).toEqual(['(XEN) Watchdog timer fired for domain 1']);
    expect(guest.machine.now()).toBeGreaterThan(5_999 * MS);
  });
});

describe('times that no machine comes to', () => {
  /** Blocks; what the machine says, with a state that can be stored, and whether the timer's event came. */
  const block = (guest: PvGuest, port: number): readonly [string, boolean] => {
    guest.prepare(29, 1);
    const { kind } = guest.machine.runTo(guest.machine.tick + 10);
    new StateTracker(guest.machine).stateHash();
    return [kind, timerPending(guest, port)];
  };
  const NEGATIVE = 0xffff_ffff_ffff_fff0n;

  test.each([1n << 53n, (1n << 53n) + 1n, 1n << 60n, (1n << 63n) - 1n])(
    '[D-39] a singleshot at %s ns is never due',
    (at) => {
      const { guest, port } = idle();
      guest.ok(24, 8, 0, guest.put(words(at, 0)));
      expect(block(guest, port)).toEqual(['blocked', false]);
    },
  );
  test('[D-39] a singleshot from 2^63 ns on is a negative time to Xen and due at once', () => {
    const { guest, port } = idle();
    guest.ok(24, 8, 0, guest.put(words(NEGATIVE, 0)));
    loop(guest);
    guest.step();
    expect(timerPending(guest, port)).toBe(true);
  });
  test('[D-39] a periodic timer has a period of at most 2^62 - 1 ns', () => {
    const { guest, port } = idle();
    expect(guest.call(24, 6, 0, guest.put(words(1n << 62n)))).toBe(-22);
    for (const period of [(1n << 62n) - 1n, 1n << 53n, (1n << 53n) - 1n]) {
      guest.ok(24, 6, 0, guest.put(words(period)));
      expect(block(guest, port)).toEqual(['blocked', false]);
      guest.xen.vcpus[0]!.blocked = false;
    }
  });
  test('[D-37] [D-39] a poll until 2^62 ns never ends by itself, one until 2^63 ns or later at once', () => {
    const { guest, port } = idle();
    const poll = (until: bigint): void => {
      guest.prepare(29, 3, guest.put(words(0, 0, until)));
      guest.step();
    };
    poll(1n << 62n);
    expect(guest.machine.runTo(guest.machine.tick + 10).kind).toBe('blocked');
    new StateTracker(guest.machine).stateHash();
    guest.xen.wake(0);
    poll(NEGATIVE);
    expect(guest.step().kind).toBe('limit');
    expect(guest.xen.runnable(0)).toBe(true);
    expect(timerPending(guest, port)).toBe(false);
  });
  test('[D-37] a watchdog of 2^32 - 1 s never fires', () => {
    const { guest, port } = idle();
    expect(guest.call(29, 6, guest.put(words(0xffff_ffffn << 32n)))).toBe(1);
    expect(block(guest, port)).toEqual(['blocked', false]);
  });
  test('[D-39] idle jumps lead up to the last moment there is', () => {
    const { guest } = idle();
    let jumps = 0;
    for (; ; jumps++) {
      guest.prepare(29, 3, guest.put(words(0, 0, BigInt(guest.machine.now()) + 2n ** 50n)));
      const { kind } = guest.machine.runTo(guest.machine.tick + 2);
      new StateTracker(guest.machine).stateHash();
      if (kind === 'blocked') break;
      expect(guest.xen.runnable(0)).toBe(true);
    }
    expect(jumps).toBe(7);
    expect(guest.machine.now()).toBeLessThan(NEVER_NS);
  });
});
