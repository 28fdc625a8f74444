/** What of grant_table_op uses grants, and the errors of FIFO event channels: statuses and errnos of Xen 4.17's grant_table.c and event_fifo.c. */
import { describe, expect, test } from 'vitest';
import { concat, le } from '../../support/elf.ts';
import { PvGuest, SELF, words } from '../../support/pv-guest.ts';

const OP = { map: 0, unmap: 1, copy: 5, unmapAndReplace: 7, swap: 11, cacheFlush: 12 } as const;
const ST = {
  general: -1,
  badDomain: -2,
  badGntref: -3,
  badHandle: -4,
  denied: -8,
  badPage: -9,
  badCopyArg: -10,
} as const;
/** This domain's id. */
const OWN = 1;
const DOMID_SELF = Number(SELF);

const signed16 = (value: number): number => (value << 16) >> 16;

interface Side {
  readonly frame: bigint | number;
  readonly dom?: number;
  readonly offset?: number;
}

/** The status that a copy answers with. */
function copy(guest: PvGuest, source: Side, dest: Side, length: number, flags = 0): number {
  const side = ({ frame, dom = DOMID_SELF, offset = 0 }: Side): Uint8Array =>
    concat(le(BigInt(frame), 8), le(dom, 2), le(offset, 2), le(0, 4));
  const at = guest.put(concat(side(source), side(dest), le(length, 2), le(flags, 2), le(0x55, 2), le(0, 2)));
  expect(guest.call(20, OP.copy, at, 1)).toBe(0);
  return signed16(guest.u32(at + 36n));
}
/** Writes entry `ref` of the first grant frame: {flags, domid, frame}. */
function grant(guest: PvGuest, ref: number, flags: number, dom: number, frame: number): void {
  const at = guest.xen.places.grantFrames[0]! * 4096 + ref * 8;
  guest.xen.memory.writeBytes(at, concat(le(flags, 2), le(dom, 2), le(frame, 4)));
}

describe('[D-48] [D-28] grant_table_op', () => {
  test('map refuses bad flags, domains, references and entries', () => {
    const guest = new PvGuest();
    const map = (flags: number, ref: number, dom: number): number => {
      const at = guest.put(concat(le(0n, 8), le(flags, 4), le(ref, 4), le(dom, 2), le(0, 2), le(0, 4), le(0n, 8)));
      expect(guest.call(20, OP.map, at, 1)).toBe(0);
      return signed16(guest.u32(at + 16n) >>> 16);
    };
    expect(map(0, 0, 0)).toBe(ST.badGntref);
    expect(map(2, 0, 77)).toBe(ST.badDomain);
    expect(map(2, 0, DOMID_SELF)).toBe(ST.badDomain);
    expect(map(2, 512, OWN)).toBe(ST.badGntref);
    expect(map(2, 20, OWN)).toBe(ST.general);
    expect(map(2, 0, 0)).toBe(ST.general);
    expect(map(2, 1 << 20, 0)).toBe(ST.badGntref);
  });

  test('unmap knows no handle', () => {
    const guest = new PvGuest();
    for (const op of [OP.unmap, OP.unmapAndReplace]) {
      const at = guest.put(new Uint8Array(24));
      expect(guest.call(20, op, at, 1)).toBe(0);
      expect(signed16(guest.u32(at + 20n))).toBe(ST.badHandle);
    }
  });

  test('copy by frames goes between own pages only, within a page, to writable ones', () => {
    const guest = new PvGuest();
    const [from, to] = [guest.page(9), guest.page(10)];
    guest.write(from + 16n, words(0x1122334455667788n));
    expect(copy(guest, { frame: guest.mfn(from), offset: 16 }, { frame: guest.mfn(to), offset: 40 }, 8)).toBe(0);
    expect(guest.quads(to + 40n, 1)).toEqual([0x1122334455667788n]);
    const [a, b] = [{ frame: guest.mfn(from) }, { frame: guest.mfn(to) }];
    expect(copy(guest, { ...a, dom: OWN }, b, 8)).toBe(ST.denied);
    expect(copy(guest, a, { ...b, dom: 0 }, 8)).toBe(ST.denied);
    expect(copy(guest, { frame: 0xffffffffffn }, b, 8)).toBe(ST.badPage);
    expect(copy(guest, a, { frame: 0 }, 8)).toBe(ST.badPage);
    expect(copy(guest, { ...a, offset: 4090 }, b, 8)).toBe(ST.badCopyArg);
    expect(copy(guest, a, { frame: guest.xen.vcpus[0]!.kernelTable }, 8)).toBe(ST.general);
  });

  test('copy by reference obeys the entry', () => {
    const guest = new PvGuest();
    const [from, to] = [guest.page(9), guest.page(10)];
    guest.write(from, words(0xabcdn));
    const dest = { frame: guest.mfn(to) };
    const source = (ref: number, dom = OWN): Side => ({ frame: ref, dom });
    grant(guest, 20, 1, OWN, guest.mfn(from));
    expect(copy(guest, source(20), dest, 8, 1)).toBe(0);
    expect(copy(guest, source(20, DOMID_SELF), dest, 8, 1)).toBe(0);
    expect(guest.quads(to, 1)).toEqual([0xabcdn]);
    grant(guest, 21, 1, 7, guest.mfn(from)); // for somebody else
    grant(guest, 22, 2, OWN, guest.mfn(from)); // accepts a transfer
    grant(guest, 23, 5, OWN, guest.mfn(from)); // read only
    grant(guest, 24, 1, OWN, 0x7ffffff0);
    expect(copy(guest, source(21), dest, 8, 1)).toBe(ST.general);
    expect(copy(guest, source(22), dest, 8, 1)).toBe(ST.general);
    expect(copy(guest, source(23), dest, 8, 1)).toBe(0);
    expect(copy(guest, dest, source(23), 8, 2)).toBe(ST.general);
    expect(copy(guest, source(24), dest, 8, 1)).toBe(ST.badPage);
    expect(copy(guest, source(512), dest, 8, 1)).toBe(ST.badGntref);
    expect(copy(guest, source(3, 0), dest, 8, 1)).toBe(ST.general);
    expect(copy(guest, source(3, 99), dest, 8, 1)).toBe(ST.badDomain);
  });

  test('swap exchanges two entries', () => {
    const guest = new PvGuest();
    grant(guest, 20, 1, 3, 0x111);
    grant(guest, 21, 5, 4, 0x222);
    const swap = (a: number, b: number): number => {
      const at = guest.put(concat(le(a, 4), le(b, 4), le(0, 4)));
      expect(guest.call(20, OP.swap, at, 1)).toBe(0);
      return signed16(guest.u32(at + 8n));
    };
    expect(swap(20, 21)).toBe(0);
    const at = guest.xen.places.grantFrames[0]! * 4096 + 160;
    expect([guest.xen.memory.read64(at), guest.xen.memory.read64(at + 8)]).toEqual([
      0x222_0004_0005n,
      0x111_0003_0001n,
    ]);
    expect([swap(20, 512), swap(512, 20)]).toEqual([ST.badGntref, ST.badGntref]);
  });

  test('cache_flush takes own memory, a length within the page, and cleaning', () => {
    const guest = new PvGuest();
    const flush = (frame: bigint | number, offset: number, length: number, op: number): number => {
      const at = guest.put(concat(le(BigInt(frame) << 12n, 8), le(offset, 2), le(length, 2), le(op, 4)));
      return guest.call(20, OP.cacheFlush, at, 1);
    };
    const mine = guest.mfn(guest.page(9));
    expect([flush(mine, 0, 64, 1), flush(mine, 0, 64, 3), flush(mine, 0, 0, 1)]).toEqual([0, 0, 0]);
    expect([flush(mine, 4096, 0, 1), flush(mine, 4000, 100, 1), flush(mine, 0, 64, 4)]).toEqual([-22, -22, -22]);
    expect(flush(mine, 0, 64, 2)).toBe(-95);
    expect([flush(0xffffffffffn, 0, 64, 1), flush(0, 0, 64, 1)]).toEqual([-22, -1]);
  });

  test('bits above the command and counts below zero are refused; an array that Xen owns is -EFAULT', () => {
    const guest = new PvGuest();
    const at = guest.put(new Uint8Array(64));
    expect(guest.call(20, OP.copy | 0x1000, at, 1)).toBe(-22);
    expect(guest.call(20, OP.copy, at, 0x8000_0000)).toBe(-22);
    expect(guest.call(20, OP.copy, 0xffff_8000_0000_0000n, 1)).toBe(-14);
    expect(guest.call(20, OP.copy, 0x10n, 1)).toBe(-14);
  });
});

describe('[D-38] FIFO event channels', () => {
  test('init_control looks at vCPU and offset before anything else', () => {
    const guest = new PvGuest();
    const init = (offset: number, vcpu: number): number =>
      guest.call(32, 11, guest.put(concat(le(0n, 8), le(offset, 4), le(vcpu, 4), le(0n, 8))));
    expect(init(0, 1)).toBe(-2);
    expect([init(4096 - 64, 0), init(4, 0)]).toEqual([-22, -22]);
    expect(init(4096 - 72, 0)).toBe(-38);
    expect(guest.call(32, 11, 0x10n)).toBe(-14);
  });
  test('expand_array and set_priority without FIFO', () => {
    const guest = new PvGuest();
    expect(guest.call(32, 12, guest.put(words(5)))).toBe(-95);
    const port = guest.bindIpi();
    expect(guest.call(32, 13, guest.put(concat(le(port, 4), le(3, 4))))).toBe(-38);
    expect(guest.call(32, 13, guest.put(concat(le(4095, 4), le(3, 4))))).toBe(-22);
    expect(guest.call(32, 13, 0x10n)).toBe(-14);
  });
});
