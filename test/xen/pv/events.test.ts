import { describe, expect, test } from 'vitest';
import { GuestMemory } from '../../../src/memory/guest-memory.ts';
import { Events } from '../../../src/xen/pv/events.ts';
import { WorkMeter } from '../../../src/xen/work.ts';
import { concat, le } from '../../support/elf.ts';
import { CODE, HANDLER, PvGuest, words } from '../../support/pv-guest.ts';

const PENDING = 0x800;
const MASK = 0xa00;
const bitOf = (guest: PvGuest, base: number, port: number): number =>
  (guest.xen.memory.read8(guest.xen.sharedInfo + base + (port >> 3)) >> (port & 7)) & 1;
const setMask = (guest: PvGuest, port: number, on: boolean): void => {
  const at = guest.xen.sharedInfo + MASK + (port >> 3);
  const old = guest.xen.memory.read8(at);
  guest.xen.memory.write8(at, on ? old | (1 << (port & 7)) : old & ~(1 << (port & 7)));
};
const poll = (guest: PvGuest, ports: readonly number[], timeout: bigint | number): number => {
  const list = guest.put(concat(...ports.map((p) => le(p, 4)), new Uint8Array(4)));
  return guest.call(29, 3, guest.put(words(list, ports.length, timeout)));
};

describe('ports', () => {
  test('[A-06] [X-07] are handed out lowest free first', () => {
    const guest = new PvGuest();
    const first = guest.bindIpi();
    expect(first).toBe(3); // 1 and 2 are xenstore's and the console's
    expect([guest.bindIpi(), guest.bindIpi()]).toEqual([4, 5]);
    expect(guest.event(3, 4).rc).toBe(0);
    expect(guest.bindIpi()).toBe(4);
    expect(guest.event(3, 4).rc).toBe(0);
    expect(guest.event(3, 4).rc).toBe(-22);
  });
  test('[A-06] IPI and per-vCPU VIRQs stay where they are bound; others may move', () => {
    const guest = new PvGuest();
    const ipi = guest.bindIpi();
    const timer = guest.bindTimer();
    expect(guest.event(8, ipi, 0).rc).toBe(-22);
    expect(guest.event(8, timer, 0).rc).toBe(-22);
    expect(guest.event(8, 2, 0).rc).toBe(0);
    expect(guest.event(8, ipi, 1).rc).toBe(-2);
    expect(guest.event(7, 1).rc).toBe(-2);
  });
  test('[D-36] [A-28] bind_virq: once, known numbers, global ones on vCPU 0', () => {
    const guest = new PvGuest();
    const timer = guest.bindTimer();
    expect(guest.event(1, 0, 0).rc).toBe(-17);
    expect(guest.event(1, 24, 0).rc).toBe(-22);
    expect(guest.event(1, 0, 1).rc).toBe(-2);
    expect(guest.event(1, 2, 1).rc).toBe(-22); // VIRQ_CONSOLE is global
    expect(guest.event(1, 2, 0).rc).toBe(0);
    expect(guest.event(3, timer).rc).toBe(0);
    expect(guest.event(1, 0, 0).words[2]).toBe(timer);
  });
  test('[D-36] status says what a port is', () => {
    const guest = new PvGuest();
    const ipi = guest.bindIpi();
    const timer = guest.bindTimer();
    const { words: unbound } = guest.event(6, 0x7ff0);
    expect(guest.event(5, 0x7ff0, 1).words.slice(2, 5)).toEqual([2, 0, 0]); // interdomain with domain 0
    expect(guest.event(5, 0x7ff0, ipi).words[2]).toBe(5);
    expect(guest.event(5, 0x7ff0, timer).words.slice(2, 5)).toEqual([4, 0, 0]);
    expect(guest.event(5, 0x7ff0, unbound[1]!).words[2]).toBe(1);
    expect(guest.event(5, 0x7ff0, 20).words[2]).toBe(0);
    expect(guest.event(5, 0x7ff0, 4000).rc).toBe(-22);
    expect(guest.event(5, 7, 1).rc).toBe(-3);
  });
  test('[D-36] two ends inside the domain: binding raises the near one, sending the far one', () => {
    const guest = new PvGuest();
    const far = guest.event(6, 0x7ff0 | (0x7ff0 << 16)).words[1]!;
    const near = guest.event(0, 0x7ff0, far).words[2]!;
    expect(bitOf(guest, PENDING, near)).toBe(1);
    expect(bitOf(guest, PENDING, far)).toBe(0);
    expect(guest.event(4, near).rc).toBe(0);
    expect(bitOf(guest, PENDING, far)).toBe(1);
    expect(guest.event(0, 0x7ff0, far).rc).toBe(-22);
    expect(guest.event(3, near).rc).toBe(0);
    expect(bitOf(guest, PENDING, near)).toBe(0); // closing clears it
    expect(guest.event(5, 0x7ff0, far).words[2]).toBe(1); // unbound again
    expect(guest.event(4, far).rc).toBe(0); // dropped without a word
  });
  test('[D-36] reset closes every port; FIFO set-up is refused, so that guests stay with two levels', () => {
    const guest = new PvGuest();
    guest.bindIpi();
    expect(guest.event(10, 0x7ff0).rc).toBe(0);
    expect([1, 2, 3].map((port) => guest.event(5, 0x7ff0, port).words[2])).toEqual([0, 0, 0]);
    // expand_array: there is no FIFO to expand; 14 is no command
    expect([11, 12, 13, 14].map((cmd) => guest.event(cmd).rc)).toEqual([-38, -95, -38, -38]);
    expect(guest.call(32, 4, 0x1000)).toBe(-14);
    expect(guest.event(2, 5).rc).toBe(-22); // bind_pirq
  });
  test('[A-50] [D-36] the compat call takes its command from memory', () => {
    const guest = new PvGuest();
    const arg = guest.put(concat(le(7, 4), le(0, 4), le(0, 4), new Uint8Array(16))); // bind_ipi
    expect(guest.call(16, arg)).toBe(0);
    expect(guest.u32(arg + 8n)).toBe(3);
    expect(guest.call(16, guest.put(le(11, 4)))).toBe(-38);
  });
  test('[D-36] a domain has 1,023 ports', () => {
    const memory = new GuestMemory({ vcpus: 1, slots: 2, frameLimit: 4, recordBytes: 0 });
    memory.addFrame(1);
    const events = new Events({
      memory,
      sharedInfo: 4096,
      domainId: 1,
      work: new WorkMeter(),
      vcpus: [{ infoAddress: 4096 }],
      wake() {},
      wakePollers() {},
      notifyBackend() {},
    });
    for (let port = 1; port <= 1023; port++) expect(events.bindIpi(0)).toBe(port);
    expect(events.bindIpi(0)).toBe(-28);
  });
});

describe('two levels', () => {
  test('[D-36] an event sets pending, its word in the selector, and the upcall', () => {
    const guest = new PvGuest();
    let port = 0;
    while (port < 70) port = guest.bindIpi();
    expect(guest.event(4, port).rc).toBe(0);
    expect(guest.shared64(PENDING + 8)).toBe(1n << BigInt(port - 64));
    expect(guest.xen.memory.read64(guest.xen.sharedInfo + 8)).toBe(2n); // evtchn_pending_sel
    expect(guest.info(0)).toBe(1);
  });
  test('[D-36] [A-36] an edge on a masked port stays as its pending bit only, and unmask raises it again', () => {
    const guest = new PvGuest();
    const port = guest.bindIpi();
    setMask(guest, port, true);
    expect(guest.event(4, port).rc).toBe(0);
    expect([bitOf(guest, PENDING, port), guest.info(0), guest.info(8)]).toEqual([1, 0, 0]);
    expect(guest.event(4, port).rc).toBe(0);
    expect(guest.event(9, port).rc).toBe(0);
    expect([bitOf(guest, MASK, port), guest.info(0), guest.info(8)]).toEqual([0, 1, 1]);
    expect(guest.event(9, 4000).rc).toBe(-22);
  });
  test('[D-36] a bit that is pending already raises nothing', () => {
    const guest = new PvGuest();
    const port = guest.bindIpi();
    guest.event(4, port);
    guest.setInfo(0, 0);
    guest.setInfo(8, 0);
    guest.event(4, port);
    expect([guest.info(0), guest.info(8)]).toEqual([0, 0]);
  });
  test('[D-36] sending on what is no channel is -EINVAL', () => {
    const guest = new PvGuest();
    const timer = guest.bindTimer();
    expect(guest.event(4, timer).rc).toBe(-22);
    expect(guest.event(4, 40).rc).toBe(-22);
    expect(guest.event(4, 100_000).rc).toBe(-22);
  });
});

describe('upcalls', () => {
  test('[D-35] are taken when pending and not masked; entry masks, and pending is left to the guest', () => {
    const guest = new PvGuest();
    guest.callbacks(HANDLER);
    const port = guest.bindIpi();
    guest.setInfo(1, 1);
    guest.event(4, port);
    guest.exec('90');
    expect(guest.cpu.rip).toBe(CODE + 1n);
    guest.setInfo(1, 0);
    // the next exit from Xen delivers: any hypercall will do (A-30: the guest forces it by XENVER_version)
    expect(guest.call(17, 0)).toBe(0x4_0011);
    const { rip } = guest.cpu;
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.u64(guest.cpu.rsp + 16n)).toBe(rip);
    expect([guest.info(0), guest.info(1)]).toEqual([1, 1]);
  });
  test('[D-35] what memory alone has unmasked waits for the next delivery point, at most 65,536 steps', () => {
    const guest = new PvGuest();
    guest.callbacks(HANDLER);
    guest.event(4, guest.bindIpi());
    guest.exec('90');
    guest.setInfo(1, 0);
    guest.at('eb fe', HANDLER); // jmp to itself
    guest.at('eb fe');
    const start = guest.machine.tick;
    while (guest.cpu.rip !== HANDLER) guest.step(1000);
    const boundary = Math.ceil(start / 65536) * 65536;
    expect(guest.machine.tick).toBeLessThanOrEqual(boundary + 1000);
    expect(guest.upcalls).toBe(1);
  });
});

describe('sleeping', () => {
  test('[D-37] [A-75] block unmasks and returns at once when an event is deliverable', () => {
    const guest = new PvGuest();
    guest.callbacks(HANDLER);
    guest.event(4, guest.bindIpi());
    guest.setInfo(1, 1);
    expect(guest.call(29, 1)).toBe(0);
    expect(guest.info(1)).toBe(0);
    expect(guest.xen.runnable(0)).toBe(true);
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
  });
  test('[D-37] [A-75] block sleeps until the timer; the upcall is taken before the call returns to the guest', () => {
    const guest = new PvGuest();
    guest.callbacks(HANDLER);
    guest.bindTimer();
    guest.ok(24, 7, 0); // stop the periodic timer
    const deadline = guest.machine.now() + 5_000_000;
    guest.ok(15, deadline);
    guest.prepare(29, 1);
    const { rip } = guest.cpu;
    guest.step();
    expect(guest.xen.runnable(0)).toBe(false);
    guest.step(); // the jump
    expect(guest.machine.now()).toBeGreaterThanOrEqual(deadline);
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.u64(guest.cpu.rsp + 16n)).toBe(rip + 2n);
    expect(guest.get('rax')).toBe(0n);
  });
  test('[D-37] with nothing to wait for, the machine says blocked', () => {
    const guest = new PvGuest();
    guest.ok(24, 7, 0);
    guest.prepare(29, 1);
    expect(guest.step(10).kind).toBe('blocked');
    const compat = new PvGuest();
    compat.ok(24, 7, 0);
    compat.prepare(6, 1);
    expect(compat.step(10).kind).toBe('blocked');
  });
  test('[D-37] poll returns at once for a pending port, masked or not, or a deliverable event', () => {
    const guest = new PvGuest();
    const port = guest.bindIpi();
    setMask(guest, port, true);
    guest.event(4, port);
    expect(poll(guest, [port], 0)).toBe(0);
    expect(guest.xen.runnable(0)).toBe(true);
    expect(poll(guest, [100_000], 0)).toBe(-22);
    expect(guest.call(29, 3, guest.put(words(0, 129, 0)))).toBe(-22);
    expect(guest.call(29, 3, guest.put(words(0x1000, 1, 0)))).toBe(-14);
    expect(guest.call(29, 3, 0x1000)).toBe(-14);
  });
  test('[D-37] a poll wakes for its port though that is masked, or at its time', () => {
    const guest = new PvGuest();
    guest.ok(24, 7, 0);
    const timer = guest.bindTimer();
    setMask(guest, timer, true);
    guest.setInfo(1, 1);
    guest.ok(15, guest.machine.now() + 1_000_000);
    expect(poll(guest, [timer], 0)).toBe(0);
    expect(guest.xen.runnable(0)).toBe(false);
    guest.step(2);
    expect(guest.xen.runnable(0)).toBe(true);
    expect(bitOf(guest, PENDING, timer)).toBe(1);
    const other = guest.bindIpi();
    const until = guest.machine.now() + 2_000_000;
    expect(poll(guest, [other], until)).toBe(0);
    expect(guest.xen.runnable(0)).toBe(false);
    guest.step(2);
    expect(guest.xen.runnable(0)).toBe(true);
    expect(guest.machine.now()).toBeGreaterThanOrEqual(until);
  });
  test('[D-37] a poll of one port sleeps through others that are masked; a poll of several wakes for any', () => {
    const guest = new PvGuest();
    const [a, b, c] = [guest.bindIpi(), guest.bindIpi(), guest.bindIpi()];
    for (const port of [a, b, c]) setMask(guest, port, true);
    guest.setInfo(1, 1);
    expect(poll(guest, [a], 0)).toBe(0);
    guest.xen.events.setPending(b);
    expect(guest.xen.runnable(0)).toBe(false);
    guest.xen.events.setPending(a);
    expect(guest.xen.runnable(0)).toBe(true);
    for (const port of [a, b]) guest.event(3, port);
    const [d, e] = [guest.bindIpi(), guest.bindIpi()];
    expect(poll(guest, [d, e], 0)).toBe(0);
    guest.xen.events.setPending(c);
    expect(guest.xen.runnable(0)).toBe(true);
  });
  test('[D-37] the state says what a vCPU waits for', () => {
    const guest = new PvGuest();
    guest.ok(24, 7, 0);
    const vcpu = guest.xen.vcpus[0]!;
    expect(vcpu).toMatchObject({ polling: null, blocked: false });
    const port = guest.bindIpi();
    poll(guest, [port, 1], 0);
    expect(vcpu).toMatchObject({ polling: [port, 1], pollTimeout: null });
    guest.xen.events.setPending(port);
    expect(vcpu).toMatchObject({ polling: null, blocked: false });
    guest.event(3, port);
    guest.setInfo(0, 0);
    guest.prepare(29, 1);
    guest.step();
    expect(vcpu).toMatchObject({ polling: null, blocked: true });
  });
  test('[D-37] an unmasked event ends a sleep although upcalls are masked', () => {
    const guest = new PvGuest();
    const [a, b] = [guest.bindIpi(), guest.bindIpi()];
    guest.setInfo(1, 1);
    expect(poll(guest, [a], 0)).toBe(0);
    guest.xen.events.setPending(b);
    expect(guest.xen.runnable(0)).toBe(true);
  });
});
