import { describe, expect, test } from 'vitest';
import { Console } from '../../src/devices/console/console.ts';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { PvGuest, words } from '../support/pv-guest.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const FRAME = 3;
const AT = { inCons: 0xc00, inProd: 0xc04, outCons: 0xc08, outProd: 0xc0c } as const;

/** A ring page with a guest side written from public/io/console.h. */
function ring(start = 0) {
  const memory = new GuestMemory({ vcpus: 1, slots: 2, frameLimit: 8, recordBytes: 0 });
  memory.addFrame(FRAME);
  const base = FRAME * 4096;
  for (const at of Object.values(AT)) memory.write32(base + at, start >>> 0);
  let notified = 0;
  const console = new Console({ memory, charge: () => {}, notify: () => notified++ });
  console.attach(FRAME, 1);
  let output = '';
  console.onOutput = (data) => {
    output += Buffer.from(data).toString('latin1');
  };
  const index = (at: number): number => memory.read32(base + at);
  return {
    console,
    index,
    notifications: () => notified,
    output: () => output,
    setIndex: (at: number, value: number) => memory.write32(base + at, value >>> 0),
    /** The guest writes as much as there is room for; returns how much. */
    write(text: string): number {
      const prod = index(AT.outProd);
      const room = 2048 - ((prod - index(AT.outCons)) >>> 0);
      const part = bytes(text).subarray(0, room);
      for (const [i, b] of part.entries()) memory.write8(base + 1024 + ((prod + i) % 2048), b);
      memory.write32(base + AT.outProd, (prod + part.length) >>> 0);
      return part.length;
    },
    /** The guest takes up to `count` bytes. */
    read(count: number): string {
      const cons = index(AT.inCons);
      const take = Math.min(count, (index(AT.inProd) - cons) >>> 0);
      const out = Array.from({ length: take }, (_, i) => memory.read8(base + ((cons + i) % 1024)));
      memory.write32(base + AT.inCons, (cons + take) >>> 0);
      return String.fromCharCode(...out);
    },
  };
}

describe('the ring', () => {
  test('[D-52] output is taken whole, in order, across the end of the ring and of the index', () => {
    for (const start of [0, 2000, 2 ** 32 - 100]) {
      const r = ring(start);
      let expected = '';
      for (let i = 0; i < 50; i++) {
        const line = `line ${i} ${'x'.repeat(i * 7)}\n`;
        expect(r.write(line)).toBe(line.length);
        expected += line;
        r.console.service();
      }
      expect(r.output()).toBe(expected);
      expect(r.console.state.written).toBe(expected.length);
      expect(r.index(AT.outCons)).toBe(r.index(AT.outProd));
      expect(r.notifications()).toBe(50);
    }
  });
  test('[D-52] a full ring is emptied, and nothing written is lost', () => {
    const r = ring(7);
    const text = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(32 + (i % 90))).join('');
    expect(r.write(text)).toBe(2048);
    expect(r.write(text.slice(2048))).toBe(0);
    r.console.service();
    expect(r.write(text.slice(2048))).toBe(952);
    r.console.service();
    expect(r.output()).toBe(text);
  });
  test('[D-52] input waits until the guest makes room, byte for byte', () => {
    const r = ring(2 ** 32 - 10);
    const text = Array.from({ length: 2500 }, (_, i) => String.fromCharCode(32 + (i % 90))).join('');
    r.console.input(bytes(text));
    expect((r.index(AT.inProd) - r.index(AT.inCons)) >>> 0).toBe(1024);
    expect(r.console.state.input.length).toBe(2500 - 1024);
    let got = r.read(1000);
    r.console.service();
    got += r.read(5000);
    r.console.service();
    got += r.read(5000);
    expect(got).toBe(text);
    expect(r.console.state.input.length).toBe(0);
    const before = r.notifications();
    r.console.service();
    expect(r.notifications()).toBe(before); // nothing moved
  });
  test('[D-52] indices that make no sense are left alone', () => {
    const r = ring();
    r.setIndex(AT.outProd, 5000);
    r.setIndex(AT.inCons, 4000);
    r.console.input(bytes('a'));
    r.console.service();
    expect(r.output()).toBe('');
    expect(r.index(AT.outCons)).toBe(0);
    expect(r.index(AT.inProd)).toBe(0);
  });
});

describe('of a guest', () => {
  /** The console ring, mapped as the loader left it. */
  function open() {
    const guest = new PvGuest();
    const base = Number(guest.startInfoWord(0x48)) * 4096;
    const port = Number(guest.startInfoWord(0x50) & 0xffffffffn);
    const { memory } = guest.xen;
    const put = (text: string): void => {
      const prod = memory.read32(base + AT.outProd);
      for (const [i, b] of bytes(text).entries()) memory.write8(base + 1024 + ((prod + i) % 2048), b);
      memory.write32(base + AT.outProd, prod + text.length);
    };
    return { guest, memory, base, port, put };
  }
  test('[D-52] a notification makes the backend look, and it notifies back', () => {
    const { guest, port, put } = open();
    put('hello');
    guest.step(0);
    expect(guest.output).toBe('');
    expect(guest.event(4, port).rc).toBe(0);
    expect(guest.output).toBe('hello');
    expect(guest.shared64(0x800) >> BigInt(port)).toBe(1n);
  });
  test('[D-52] [D-60] a polled driver gets its output out by yielding, events masked', () => {
    const { guest, put } = open();
    guest.setInfo(1, 1);
    put('panic: ');
    expect(guest.call(29, 0)).toBe(0);
    expect(guest.output).toBe('panic: ');
    put('oh');
    expect(guest.call(6, 0)).toBe(0);
    expect(guest.output).toBe('panic: oh');
    put(' no');
    guest.call(29, 3, guest.put(words(0, 0, 1)));
    expect(guest.output).toBe('panic: oh no');
  });
  test('[D-52] what is typed arrives in the ring with an event', () => {
    const { guest, memory, base, port } = open();
    guest.xen.input('console', bytes('ls\n'));
    expect(memory.read32(base + AT.inProd)).toBe(3);
    expect(Buffer.from(memory.readBytes(base, 3)).toString()).toBe('ls\n');
    expect(guest.shared64(0x800) >> BigInt(port)).toBe(1n);
  });
  test('[D-60] console_io writes and reads before there is a ring', () => {
    const { guest } = open();
    const text = 'x'.repeat(300);
    expect(guest.call(18, 0, 300, guest.put(bytes(text)))).toBe(0);
    expect(guest.output).toBe(text);
    expect(guest.call(18, 0, 10, 0x1000)).toBe(-14);
    expect(guest.call(18, 0, 0, 0x1000)).toBe(0);
    const buffer = guest.page(9);
    expect(guest.call(18, 1, 16, buffer)).toBe(0);
    guest.console.state.input = bytes('yes\n');
    expect(guest.call(18, 1, 3, 0x1000)).toBe(-14);
    expect(guest.call(18, 1, 3, buffer)).toBe(3);
    expect(guest.call(18, 1, 16, buffer + 3n)).toBe(1);
    expect(Buffer.from(guest.read(buffer, 4)).toString()).toBe('yes\n');
    expect(guest.call(18, 2, 0, 0)).toBe(-38);
  });
});
