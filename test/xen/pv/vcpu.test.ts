import { describe, expect, test } from 'vitest';
import { concat, le } from '../../support/elf.ts';
import { CODE, HANDLER, PvGuest, STACK, words } from '../../support/pv-guest.ts';

const RUNSTATE = 4;

describe('vcpu_op', () => {
  test('[A-01] [A-02] [A-03] answers for the vCPUs of the domain and -ENOENT behind them', () => {
    const guest = new PvGuest();
    const at = guest.page(9);
    expect(guest.call(24, RUNSTATE, 0, at)).toBe(0);
    for (const id of [1, 2, 31, 32, 8191, 0xffffffff]) expect(guest.call(24, RUNSTATE, id, at)).toBe(-2);
    expect(guest.call(24, 3, 0)).toBe(1);
    expect(guest.call(24, 3, 1)).toBe(-2);
    expect(guest.call(24, RUNSTATE, 0, 0x1000)).toBe(-14);
    expect(guest.call(24, 99, 0)).toBe(-38);
  });
  test('[A-01] the runstate is 48 bytes: running, since when, and the time in each state', () => {
    const guest = new PvGuest();
    const at = guest.page(9);
    guest.write(at, new Uint8Array(64).fill(0xee));
    guest.at('eb fe');
    guest.step(1000);
    const now = guest.machine.now();
    guest.ok(24, RUNSTATE, 0, at);
    expect(guest.quads(at, 7)).toEqual([0n, 0n, BigInt(now), 0n, 0n, 0n, 0xeeeeeeee_eeeeeeeen]); // no padding left over
  });
  test('[D-40] the runstate area is written on registering and on every change', () => {
    const guest = new PvGuest();
    guest.ok(24, 7, 0);
    guest.bindTimer();
    guest.setInfo(1, 1);
    const area = guest.page(9);
    guest.write(area, new Uint8Array(48).fill(0xee));
    guest.ok(24, 5, 0, guest.put(words(area)));
    expect(guest.quads(area, 3)).toEqual([0n, 0n, 0n]);
    const asleep = guest.machine.now();
    guest.ok(15, asleep + 5_000_000);
    guest.prepare(29, 1);
    guest.step();
    expect(guest.quads(area, 3)).toEqual([2n, BigInt(asleep) + 1n, BigInt(asleep) + 1n]);
    guest.step();
    expect(guest.u64(area)).toBe(0n);
    expect(guest.u64(area + 32n)).toBe(4_999_999n); // blocked
    guest.setInfo(1, 1); // block has unmasked
    // an area that is not mapped is left alone
    guest.ok(24, 5, 0, guest.put(words(0x1000)));
    expect(guest.call(24, 5, 0, 0x1000)).toBe(-14);
  });
  test('[A-20] initialise, up and down of the only vCPU', () => {
    const guest = new PvGuest();
    expect(guest.call(24, 0, 0, guest.page(9))).toBe(-17);
    expect(guest.call(24, 0, 0, 0x1000)).toBe(-14);
    expect(guest.call(24, 1, 0)).toBe(0);
    guest.prepare(24, 2, 0);
    expect(guest.stopped().kind).toBe('poweroff');
  });
  test('[A-04] register_vcpu_info moves the record, marks everything pending, works once', () => {
    const guest = new PvGuest();
    const page = guest.page(9);
    guest.setInfo(1, 1);
    const register = (offset: number, mfn = guest.mfn(page)): number =>
      guest.call(24, 10, 0, guest.put(words(mfn, offset)));
    expect(register(4096 - 63)).toBe(-6);
    expect(register(4)).toBe(-6);
    expect(register(64, 1)).toBe(-22); // not the domain's
    expect(register(64)).toBe(0);
    expect(guest.u8(page + 64n)).toBe(1);
    expect(guest.u8(page + 65n)).toBe(1);
    expect(guest.u64(page + 72n)).toBe(0xffff_ffff_ffff_ffffn);
    expect(guest.u32(page + 64n + 0x20n)).toBeGreaterThan(2); // the time record, refreshed
    expect(register(128)).toBe(-22);
    // from now on events and masks are looked for there
    guest.callbacks(HANDLER);
    guest.write(page + 65n, Uint8Array.of(0));
    guest.step();
    expect(guest.cpu.rip).toBe(HANDLER);
    expect(guest.u8(page + 65n)).toBe(1);
  });
  test('[A-04] [D-27] shared_info is mapped by its machine address; its vcpu_info is the hypervisor’s', () => {
    const guest = new PvGuest();
    const address = guest.startInfoWord(0x28);
    const page = guest.page(9);
    guest.ok(14, page, address | 0x63n, 2);
    guest.write(page + 1n, Uint8Array.of(0));
    expect(guest.info(1)).toBe(0);
    expect(guest.u64(page + 0x38n)).toBe(BigInt(guest.xen.memory.read64(Number(address) + 0x38)));
    for (let i = 1; i < 32; i++) expect(guest.u8(page + BigInt(i * 64 + 1))).toBe(1); // D-15: all masked
  });
});

describe('shutdown', () => {
  const shutdown = (reason: number): ReturnType<PvGuest['stopped']> => {
    const guest = new PvGuest();
    guest.prepare(29, 2, guest.put(le(reason, 4)));
    return guest.stopped();
  };
  test('[D-37] each reason ends the run with its verdict', () => {
    expect([0, 1, 2, 3, 4, 5, 77].map((reason) => shutdown(reason).kind)).toEqual([
      'poweroff',
      'reboot',
      'poweroff',
      'crash',
      'crash',
      'crash',
      'crash',
    ]);
  });
  test('[A-50] the compat call has the reason in a register; the new one takes a pointer only', () => {
    const guest = new PvGuest();
    expect(guest.call(29, 2, 1)).toBe(-14);
    guest.prepare(6, 2, 1);
    expect(guest.stopped().kind).toBe('reboot');
  });
  test('[D-37] a shutdown code stored before wins', () => {
    const guest = new PvGuest();
    guest.ok(29, 5, guest.put(le(3, 4)));
    guest.ok(29, 5, guest.put(le(1, 4)));
    guest.prepare(29, 2, guest.put(le(0, 4)));
    expect(guest.stopped().kind).toBe('crash');
  });
  test('[D-05] what the toolstack or a device would need is refused', () => {
    const guest = new PvGuest();
    expect(guest.call(29, 4, 0)).toBe(-1);
    expect(guest.call(29, 7, 0)).toBe(-1);
    expect(guest.call(29, 9, 0)).toBe(-38);
    expect(guest.call(6, 3, 0)).toBe(-38);
    expect(guest.call(33, 13, guest.page(9))).toBe(-1);
    expect(guest.call(33, 40, 0)).toBe(-38);
  });
});

describe('multicall', () => {
  const entry = (op: number, ...args: (bigint | number)[]): Uint8Array =>
    words(op, 0xeeee, ...Array.from({ length: 6 }, (_, i) => args[i] ?? 0));
  test('[D-05] runs its entries in order, each with its result; nesting is refused', () => {
    const guest = new PvGuest();
    const list = guest.put(concat(entry(17, 0), entry(999), entry(13, 0, 0), entry(3, 0xe02b, STACK)));
    guest.ok(13, list, 4);
    expect([0n, 1n, 2n, 3n].map((i) => BigInt.asIntN(64, guest.u64(list + i * 64n + 8n)))).toEqual([
      0x4_0011n,
      -38n,
      -22n,
      0n,
    ]);
    expect(guest.log).toEqual(['(XEN) multicall.c:47:d1v0 Multicall reentry is disallowed.']);
    expect(guest.calls.slice(-5).map((c) => [c.way, c.op])).toEqual([
      ['M', 17],
      ['M', 999],
      ['M', 13],
      ['M', 3],
      ['H', 13],
    ]);
    expect(guest.call(13, 0x1000, 1)).toBe(-14);
    expect(guest.call(13, 0x1000, 0)).toBe(0);
  });
  test('[D-33] an iret in it ends it', () => {
    const guest = new PvGuest();
    const list = guest.put(concat(entry(23), entry(3, 0, 0x1234)));
    guest.iretFrame([77, 2, 3, 0, CODE, 0xe030, 0x2, STACK, 0xe02b]);
    const { rsp } = guest.cpu;
    guest.prepare(13, list, 2);
    guest.cpu.rsp = rsp;
    guest.step();
    expect([guest.cpu.rip, guest.get('rax')]).toEqual([CODE, 77n]);
    expect(guest.u64(list + 8n)).toBe(77n);
    expect(guest.xen.vcpus[0]!.kernelSp).not.toBe(0x1234n);
  });
});

describe('xen_version', () => {
  test('[X-07] is Xen 4.17 with fixed texts, and fills what it returns', () => {
    const guest = new PvGuest();
    const at = guest.page(9);
    const text = (cmd: number, length: number): string => {
      guest.write(at, new Uint8Array(1100).fill(0xee));
      expect(guest.call(17, cmd, at)).toBe(0);
      const bytes = Buffer.from(guest.read(at, length));
      expect(bytes.includes(0xee)).toBe(false);
      return bytes.toString('latin1').replace(/\0.*/s, '');
    };
    expect(guest.call(17, 0)).toBe(0x4_0011);
    expect(text(1, 16)).toBe('.7');
    text(2, 144);
    expect(text(3, 1024)).toContain('xen-3.0-x86_64');
    text(4, 64);
    expect(guest.call(17, 5, at)).toBe(0);
    expect(guest.u64(at)).toBe(0xffff_8000_0000_0000n);
    expect(guest.call(17, 7, 0)).toBe(4096);
    expect(guest.call(17, 7, 1)).toBe(-22);
    text(8, 16);
    expect(text(9, 9)).toBe('<denied>');
    expect(guest.call(17, 10, 0)).toBe(-1);
    expect(guest.call(17, 11, 0)).toBe(-38);
    expect(guest.call(17, 1, 0x1000)).toBe(-14);
  });
  test('[D-05] get_features: PV bits, pae_pgdir_above_4gb with its assist', () => {
    const guest = new PvGuest();
    const features = (submap: number): { rc: number; bits: number } => {
      const at = guest.put(words(submap));
      return { rc: guest.call(17, 6, at), bits: guest.u32(at + 4n) };
    };
    const { bits } = features(0);
    expect(bits & 0xff).toBe(0xe0); // 5, 6, 7; not 0, 2, 4
    expect(bits & (1 << 11)).toBe(0);
    guest.ok(21, 0, 3);
    expect(features(0).bits & 0x10).toBe(0x10);
    expect(features(1).rc).toBe(-22);
  });
  test('[D-05] vm_assist takes what a 64-bit PV guest may ask', () => {
    const guest = new PvGuest();
    for (const type of [0, 1, 2, 3, 4, 5, 32])
      expect([guest.call(21, 0, type), guest.call(21, 1, type)]).toEqual([0, 0]);
    for (const type of [6, 31, 33, 64]) expect([guest.call(21, 0, type), guest.call(21, 1, type)]).toEqual([-22, -22]);
    expect(guest.call(21, 2, 2)).toBe(-38);
  });
});

describe('physdev_op and grant tables', () => {
  test('[D-42] set_iopl; pirq_eoi_gmfn takes a page once', () => {
    const guest = new PvGuest();
    expect(guest.call(33, 6, guest.put(words(4)))).toBe(-22);
    expect(guest.call(19, guest.put(concat(le(6, 8), words(3))))).toBe(0); // compat, union at +8
    expect(guest.xen.vcpus[0]!.iopl).toBe(0x3000);
    const eoi = (page: bigint): number => guest.call(33, 28, guest.put(words(guest.mfn(page))));
    expect(guest.call(33, 28, guest.put(words(1)))).toBe(-22);
    expect(eoi(guest.page(9))).toBe(0);
    expect(eoi(guest.page(10))).toBe(-16);
  });
  test('[D-28] query_size, setup_table and a frame mapped by it', () => {
    const guest = new PvGuest();
    const query = guest.put(words(0x7ff0, 0xdead, 0));
    expect(guest.call(20, 6, query, 1)).toBe(0);
    expect([guest.u32(query + 4n), guest.u32(query + 8n), guest.u32(query + 12n) & 0xffff]).toEqual([1, 64, 0]);
    const list = guest.page(9);
    const setup = guest.put(words(0x7ff0n | (4n << 32n), 0, list));
    expect(guest.call(20, 2, setup, 1)).toBe(0);
    expect(guest.u32(setup + 8n) & 0xffff).toBe(0);
    const frames = guest.quads(list, 4);
    expect(new Set(frames).size).toBe(4);
    guest.ok(14, guest.page(10), (frames[1]! << 12n) | 0x63n, 2);
    guest.write(guest.page(10), words(0x1234));
    expect(guest.xen.memory.read64(Number(frames[1]) * 4096)).toBe(0x1234n);
    expect(guest.call(20, 6, query, 1)).toBe(0);
    expect(guest.u32(query + 4n)).toBe(4);
    const many = guest.put(words(0x7ff0n | (65n << 32n), 0, list));
    expect(guest.call(20, 2, many, 1)).toBe(0);
    expect(guest.u32(many + 8n) & 0xffff).toBe(0xffff); // GNTST_general_error
    expect(guest.call(20, 2, setup, 2)).toBe(-22);
  });
  test('[D-28] version 1 only', () => {
    const guest = new PvGuest();
    const version = (asked: number): [number, number] => {
      const at = guest.put(le(asked, 4));
      return [guest.call(20, 8, at, 1), guest.u32(at)];
    };
    expect(version(1)).toEqual([0, 1]);
    expect(version(2)).toEqual([-38, 1]);
    expect(version(3)).toEqual([-22, 1]);
    const at = guest.put(words(0x7ff0));
    expect(guest.call(20, 10, at, 1)).toBe(0);
    expect(guest.u32(at + 4n)).toBe(1);
  });
});
