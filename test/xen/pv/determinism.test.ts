import { describe, expect, test } from 'vitest';
import type { InputDoor, Payload } from '../../../src/machine/inputs.ts';
import { sectionsOf } from '../../../src/machine/state.ts';
import { HANDLER, PvGuest, words } from '../../support/pv-guest.ts';

/** Everything the machine is: memory, vCPU, hypervisor. */
function fingerprint(guest: PvGuest): string {
  const parts = sectionsOf(guest.machine).map(
    (section) => `${section.name}=${Buffer.from(section.encode()).toString('base64')}`,
  );
  const { memory } = guest.machine.engine;
  for (let slot = 0; slot < memory.slotCount; slot++) {
    const page = memory.page(memory.slotFrames[slot]!);
    if (page.some((b) => b !== 0)) parts.push(`${slot}=${Buffer.from(page).toString('base64')}`);
  }
  return parts.join('\n');
}
/** A busy guest: it counts upcalls, reads the TSC, yields and prints what it reads. */
function busy(options: ConstructorParameters<typeof PvGuest>[0] = {}): PvGuest {
  const guest = new PvGuest(options);
  guest.bindTimer();
  guest.callbacks(HANDLER);
  guest.ok(24, 6, 0, guest.put(words(1_000_000)));
  // handler: inc r15; pending = 0; sel = 0; evtchn_pending[0] = 0; iret frame by hand: unmask and return
  const info = guest.page(6);
  guest.ok(14, info, guest.startInfoWord(0x28) | 0x63n, 2);
  guest.set({ r14: info, r13: guest.page(7), r15: 0 });
  // inc r15; mov byte [r14],0; mov qword [r14+8],0; mov qword [r14+0x800],0; mov byte [r14+1],0; pop rcx; pop r11; ret 0x20
  const handler =
    '49 ff c7 41 c6 06 00 49 c7 46 08 00 00 00 00 49 c7 86 00 08 00 00 00 00 00 00 59 41 5b 41 c6 46 01 00 c2 20 00';
  guest.at(handler, HANDLER);
  guest.setInfo(1, 0);
  // 1: rdtsc; add [r13], rax; inc rbx; mov ecx, 200; loop .; xor eax, eax; mov al, 29; xor edi, edi; syscall; jmp 1
  guest.at('0f 31 49 01 45 00 48 ff c3 b9 c8 00 00 00 e2 fe 31 c0 b0 1d 31 ff 0f 05 eb e6');
  return guest;
}

describe('a run', () => {
  test('[X-01] is the same twice, and however it is cut', () => {
    const end = 4_200_000;
    const whole = busy();
    whole.machine.runTo(end);
    expect(whole.upcalls).toBeGreaterThan(2);
    expect(whole.get('r15')).toBe(BigInt(whole.upcalls));
    const expected = fingerprint(whole);
    const cut = busy();
    for (let at = cut.machine.tick, step = 1; at < end; step = (step * 7) % 65521)
      cut.machine.runTo((at = Math.min(at + step, end)));
    expect(fingerprint(cut)).toBe(expected);
  });

  test('[X-02] takes input at the tick the door names, and a replay of the same door gives the same run', () => {
    const payloads: Payload[] = [70_001, 70_002, 1_500_003].map((tick, i) => ({
      tick,
      kind: 'input',
      device: 'console',
      data: new TextEncoder().encode(`line ${i}\n`),
    }));
    const door = (): InputDoor => ({
      take: (tick) => payloads.filter((p) => p.tick === tick),
      nextPayload: (tick) =>
        Math.min(...payloads.map((p) => p.tick).filter((at) => at > tick), Number.POSITIVE_INFINITY),
      decided: () => {},
    });
    const runs = [1, 2].map((cut) => {
      const guest = busy({ door: door() });
      const arrived: number[] = [];
      const console = guest.xen.input.bind(guest.xen);
      guest.xen.input = (device, bytes) => {
        arrived.push(guest.machine.tick);
        console(device, bytes);
      };
      for (let i = 1; i <= cut; i++) guest.machine.runTo((2_000_000 / cut) * i);
      return { arrived, state: fingerprint(guest) };
    });
    expect(runs[0]!.arrived).toEqual([70_001, 70_002, 1_500_003]);
    expect(runs[1]).toEqual(runs[0]);
  });

  test('[X-01] goes on from its saved state as if nothing had been', () => {
    const guest = busy();
    guest.machine.runTo(1_300_000);
    const saved = sectionsOf(guest.machine).map((section) => ({ section, bytes: section.encode() }));
    const { memory } = guest.machine.engine;
    const pages = Array.from({ length: memory.slotCount }, (_, slot) => memory.page(memory.slotFrames[slot]!).slice());
    guest.machine.runTo(2_600_000);
    const expected = fingerprint(guest);
    for (const [slot, page] of pages.entries()) memory.writeBytes(memory.slotFrames[slot]! * 4096, page);
    for (const { section, bytes } of saved) section.decode(bytes);
    guest.machine.engine.reset();
    guest.machine.restored();
    guest.machine.runTo(2_600_000);
    expect(fingerprint(guest)).toBe(expected);
  });
});

describe('what a watcher sees', () => {
  test('[X-05] every hypercall with number, arguments, result and place; traps and upcalls', () => {
    const guest = busy();
    guest.calls.length = 0;
    guest.machine.runTo(2_100_000);
    const { calls } = guest;
    expect(calls.length).toBeGreaterThan(100);
    expect(new Set(calls.map((c) => `${c.way} ${c.op} ${c.args[0]} ${c.ret} ${c.rip.toString(16)}`)).size).toBe(1);
    expect(calls[0]).toMatchObject({ way: 'H', vcpu: 0, op: 29, ret: 0 });
    expect(guest.upcalls).toBeGreaterThan(0);
    guest.handle({ 6: { at: HANDLER } });
    guest.exec('0f 0b');
    expect(guest.traps.at(-1)).toMatchObject({ vcpu: 0, vector: 6 });
  });
  test('[X-05] watching does not change the run', () => {
    const watched = busy();
    watched.machine.runTo(1_200_000);
    const alone = busy({ watched: false });
    alone.machine.runTo(1_200_000);
    expect(fingerprint(alone)).toBe(fingerprint(watched));
  });
});

test('[X-07] output buffers are filled, whatever stood there before', () => {
  const calls: ReadonlyArray<(guest: PvGuest, at: bigint) => number> = [
    (guest, at) => guest.call(17, 2, at),
    (guest, at) => guest.call(17, 3, at),
    (guest, at) => guest.call(24, 4, 0, at),
    (guest, at) => guest.call(12, 12, at),
    (guest, at) => guest.call(17, 8, at),
  ];
  for (const [i, call] of calls.entries()) {
    const results = [0x00, 0xff].map((fill) => {
      const guest = new PvGuest();
      const at = guest.page(9);
      guest.write(at, new Uint8Array(4096).fill(fill));
      expect(call(guest, at)).toBe(0);
      return guest.read(at, 4096);
    });
    // what differs was never written: a suffix
    let end = 4096;
    while (end > 0 && results[0]![end - 1] === 0 && results[1]![end - 1] === 0xff) end--;
    expect(end, `call ${i}`).toBeGreaterThan(0);
    expect(results[0]!.subarray(0, end), `call ${i}`).toEqual(results[1]!.subarray(0, end));
  }
});
