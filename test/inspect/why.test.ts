import { describe, expect, it } from 'vitest';
import type { Origin } from '../../src/inspect/origin/origin.ts';
import { PLAIN, renderWhy } from '../../src/inspect/render.ts';
import { why } from '../../src/inspect/why.ts';
import type { Place } from '../../src/machine/explanation.ts';
import { at, event, FakeCase, INT3, STORE, SYSCALL, TEXT, verdict } from './fake-case.ts';

describe('[S01] why of a pin that Xen refused', () => {
  // Story S01 in small: the lines are Xen 4.17's for a descriptor page mapped writable in a table that is to be pinned.
  const [L4, L3, L2, L1, GDT] = [0x1234n, 0x1235n, 0x1236n, 0x1237n, 0x10en];
  const crash = new FakeCase(verdict('crash', 900, at('panic', 0xa1), 'domain_crash: create_bounce_frame'));
  const before = crash.moment(800);
  before.registers.rip = at('activate_tables', 0x20);
  before.put(at('activate_tables', 0x20), SYSCALL);
  before.put64((L4 << 12n) + 511n * 8n, (L3 << 12n) | 0x27n, 'ma');
  before.put64((L3 << 12n) + 510n * 8n, (L2 << 12n) | 0x27n, 'ma');
  before.put64(L2 << 12n, (L1 << 12n) | 0x27n, 'ma');
  const entry = (L1 << 12n) + 0x10en * 8n;
  before.put64(entry, (GDT << 12n) | 0x67n, 'ma');
  const place: Place = { space: 'ma', address: entry };
  // The store that made it writable, and one later that set the accessed bit of what was there already.
  const bad = (GDT << 12n) | 0x47n;
  crash.writes.push({ place, tick: 300, vcpu: 0, rip: at('map_image', 0x5b), before: 0n, after: bad });
  crash.writes.push({ place, tick: 500, vcpu: 0, rip: at('print', 2), before: bad, after: bad | 0x20n });
  crash.moment(300).put(at('map_image', 0x5b), STORE);
  crash.happened.push(
    event(100, at('print', 8), 'hypercall', { name: 'console_io', fields: { result: 0n } }),
    event(200, at('print', 8), 'hypercall', { name: 'xen_version', fields: { result: -38n } }),
    ...[
      '(XEN) mm.c:2940:d1v0 Bad type (saw a400000000000001 != exp e000000000000000) for mfn 0010e (pfn 0010e)',
      '(XEN) mm.c:1366:d1v0 Failure -22 in promote_l1_table: slot 0x10e',
      '(XEN) mm.c:1474:d1v0 Failure -22 in promote_l2_table: slot 0',
      '(XEN) mm.c:1593:d1v0 Failure -22 in promote_l3_table: slot 0x1fe',
      '(XEN) mm.c:1784:d1v0 Failure -22 in promote_l4_table: slot 0x1ff',
      '(XEN) mm.c:3576:d1v0 Error -22 while pinning mfn 01234',
    ].map((text) => event(800, at('activate_tables', 0x22), 'log', { text })),
    event(800, at('activate_tables', 0x22), 'hypercall', { name: 'pin', fields: { mfn: L4, result: -22n } }),
    event(800, at('activate_tables', 0x22), 'hypercall', { name: 'mmuext_op', fields: { result: -22n } }),
    event(899, at('panic', 0xa1), 'trap', { name: 'breakpoint', fields: { vector: 3n } }),
  );
  const end = crash.moment(900);
  end.registers.rip = at('panic', 0xa0);
  end.put(at('panic', 0xa0), INT3);
  end.consoleText = 'panic: pinning the new page tables failed: -22\n';

  it('names the store that set the writable bit, not the pin and not a later store', async () => {
    const report = await why(crash);
    expect(report.lastWriter).toEqual({
      tick: 300,
      rip: at('map_image', 0x5b),
      symbol: 'map_image+0x5b',
      instruction: 'mov [rcx*8+new_l1], rax',
      value: bad,
    });
    expect(report.instruction).toBe('syscall');
    expect(report.operand).toBe(
      'L1 entry 0x10e at machine address 0x1237870 is 0x10e067, which maps mfn 0x10e (gdt) writable, ' +
        'but Xen holds that frame as segdesc',
    );
  });

  it('tells the chain from the end back', async () => {
    const { chain } = await why(crash);
    expect(chain.map((link) => link.what.split(':')[0])).toEqual([
      'crash',
      '#BP exception',
      'the kernel said',
      'pin, mmuext_op = -22 (EINVAL)',
      '(XEN) mm.c',
      '(XEN) mm.c',
      'L1 entry 0x10e at machine address 0x1237870 is 0x10e067, which maps mfn 0x10e (gdt) writable, but Xen holds that frame as segdesc',
      'mov [rcx*8+new_l1], rax wrote 0x10e047 there',
    ]);
    expect(chain.at(-1)).toMatchObject({ tick: 300, symbol: 'map_image+0x5b' });
  });

  it('reads well without colours', async () => {
    const text = renderWhy(await why(crash), PLAIN, 100).join('\n');
    expect(text).toContain('crash at tick 900');
    expect(text).toMatch(/The store behind it\n +tick +300\n +in +map_image\+0x5b/);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(130);
  });

  it('names the place of the verdict as it is there: in a module, which is gone in the end', async () => {
    const inModule = new FakeCase(verdict('crash', 900, 0xffffffffc0200004n, 'page fault'), 950);
    let tick = 0;
    inModule.at = (to) => {
      tick = to;
      return Promise.resolve(inModule.moment(to));
    };
    inModule.symbols = { lookup: () => (tick === 900 ? { name: 'work', offset: 4, module: 'first' } : null) };
    const report = await why(inModule);
    expect(report.verdict.symbol).toBe('work+0x4 [first]');
    expect(report.chain[0]!.symbol).toBe('work+0x4 [first]');
  });
});

describe('why of a request in memory that Xen refused', () => {
  it('names the writer of the value asked for', async () => {
    const crash = new FakeCase(verdict('crash', 50, at('panic', 0xa1), 'domain_crash: x'));
    const list = at('flag');
    const before = crash.moment(40);
    before.registers.rip = at('map_image');
    before.put(at('map_image'), SYSCALL);
    before.put64(list, 0x5000n).put64(list + 8n, 0x10e067n);
    crash.happened.push(
      event(40, at('map_image', 2), 'hypercall', {
        name: 'mmu_update',
        fields: { arg0: list, arg2: 0n, result: -22n },
      }),
    );
    const place: Place = { space: 'ma', address: before.translate(list + 8n)! };
    crash.writes.push({ place, tick: 30, vcpu: 0, rip: at('poll_flag'), before: 0n, after: 0x10e067n });
    crash.moment(30).put(at('poll_flag'), STORE);
    const report = await why(crash);
    expect(report.operand).toBe('request 0 asks for 0x10e067 in the entry at machine address 0x5000');
    expect(report.lastWriter).toMatchObject({ tick: 30, symbol: 'poll_flag', value: 0x10e067n });
  });
});

describe('why of a fault', () => {
  it('follows a bad pointer from the operand over the load to the store that wrote it', async () => {
    const died = new FakeCase(verdict('triple-fault', 20, at('map_image', 4), 'triple fault'));
    const load = died.moment(18);
    // mov rdi, [flag]; mov rax, [rdi+8]
    load.registers.rip = at('map_image');
    load.put(at('map_image'), [0x48, 0x8b, 0x3c, 0x25, 0x00, 0xf0, 0x10, 0x80]);
    const fault = died.moment(19);
    Object.assign(fault.registers, { rip: at('map_image', 8), rdi: 0x1000n });
    fault.put(at('map_image', 8), [0x48, 0x8b, 0x47, 0x08]);
    died.happened.push(
      event(19, at('map_image', 8), 'trap', {
        name: 'page_fault',
        fields: { vector: 14n, error: 0n, address: 0x1008n },
      }),
      event(20, at('map_image', 8), 'trap', { name: 'double_fault', fields: { vector: 8n, error: 0n } }),
    );
    died.moment(5).put(at('poll_flag'), STORE);
    const value = 0x1000n;
    const step = (tick: number, rip: bigint, symbol: string, instruction: string): Origin['step'] => ({
      ...{ tick, vcpu: 0, rip, symbol, instruction },
    });
    died.origins = {
      ...{ place: 'rdi', address: null, value, tick: 19, unchanged: false, root: null, above: false },
      bytes: { space: 'state', vcpu: 0, offset: 56, bytes: 8 },
      step: step(18, at('map_image'), 'map_image', 'mov rdi, [flag]'),
      inputs: [
        {
          ...{ place: 'u64[flag]', address: at('flag'), value, tick: 18, unchanged: false, inputs: [], above: false },
          bytes: { space: 'memory', address: 0xf000, bytes: 8 },
          step: step(5, at('poll_flag'), 'poll_flag', 'mov [rcx*8+new_l1], rax'),
          root: { kind: 'constant' },
        },
      ],
    };
    const report = await why(died);
    expect(report.instruction).toBe('mov rax, [rdi+8]');
    expect(report.decides).toMatchObject({ role: 'base', text: 'the base register rdi is 0x1000', tick: 19 });
    expect(report.root).toMatchObject({
      store: { tick: 5, symbol: 'poll_flag', value },
      source: { kind: 'constant', symbol: 'poll_flag', value },
      address: { space: 'va', value: at('flag') },
    });
    expect(report.chain.slice(1, 4).map((l) => l.what)).toEqual([
      '#DF exception',
      '#PF at 0x1008 (read, not present)',
      'mov rdi, [flag] made rdi 0x1000',
    ]);
  });
});

describe('why of a hang', () => {
  it('names the polled word, the loop and the event masks', async () => {
    const hang = new FakeCase(verdict('hang', 40, at('poll_flag'), 'nothing new for 30 s'));
    // cmp dword [flag], 0; je back
    for (let tick = 0; tick <= 40; tick++) {
      const moment = hang.moment(tick);
      moment.registers.rip = at('poll_flag', tick % 2 === 0 ? 0 : 8);
      moment.put(at('poll_flag'), [0x83, 0x3c, 0x25, 0x00, 0xf0, 0x10, 0x80, 0x00, 0x74, 0xf6]);
      moment.put(at('flag'), [0, 0, 0, 0]);
    }
    const end = hang.moment(40);
    end.upcallState = { pending: true, masked: true };
    end.portList = [{ port: 3, kind: 'virq timer', pending: true, masked: true }];
    const report = await why(hang);
    expect(report.operand).toBe('u32[0xffffffff8010f000] (flag) = 0x0');
    expect(report.instruction).toBe('cmp dword ptr [flag], 0');
    const told = report.chain.map((l) => l.what).join('\n');
    expect(told).toContain('loop in poll_flag');
    expect(told).toContain('evtchn_upcall_pending = 1, evtchn_upcall_mask = 1');
    expect(told).toContain('port 3 (virq timer): pending, masked');
  });

  it('names the link of an element that leads to itself, not what else is read there', async () => {
    const hang = new FakeCase(verdict('hang', 40, at('poll_flag'), 'endless loop'));
    for (let tick = 0; tick <= 40; tick++) {
      const moment = hang.moment(tick);
      Object.assign(moment.registers, { rip: at('poll_flag', tick % 2 === 0 ? 0 : 4), rax: at('flag') });
      moment.put(at('poll_flag'), [0x48, 0x39, 0x78, 0x08, 0x48, 0x8b, 0x00]); // cmp [rax+8], rdi; mov rax, [rax]
      moment.put64(at('flag'), at('flag')).put64(at('flag', 8), 1n);
    }
    expect((await why(hang)).loop?.word).toMatchObject({ address: at('flag'), value: at('flag') });
  });

  it('calls what a run that somebody ended did last no loop', async () => {
    const ended = new FakeCase(verdict('stopped', 40, at('poll_flag'), 'the recorder was killed'));
    for (let tick = 0; tick <= 40; tick++) {
      const moment = ended.moment(tick);
      moment.registers.rip = at('poll_flag', tick % 2 === 0 ? 0 : 8);
      moment.put(at('poll_flag'), [0x83, 0x3c, 0x25, 0x00, 0xf0, 0x10, 0x80, 0x00, 0x74, 0xf6]);
      moment.put(at('flag'), [0, 0, 0, 0]);
    }
    const { chain, loop } = await why(ended);
    expect(loop).toBeNull();
    expect(chain[1]!.what).toMatch(/^of the last 8192 steps 21 began at poll_flag, more than anywhere else$/);
  });

  it('names the operand of the first fault of a fault loop', async () => {
    const hang = new FakeCase(
      verdict('hang', 90, at('print'), 'fault loop: #PF on 0x1008, error 0, at poll_flag: 9 times'),
    );
    const LOAD = [0x48, 0x8b, 0x47, 0x08]; // mov rax, [rdi+8]
    for (const tick of [20, 40, 60, 80]) {
      const moment = hang.moment(tick);
      Object.assign(moment.registers, { rip: at('poll_flag'), rdi: 0x1000n });
      moment.put(at('poll_flag'), LOAD);
      const fields = { vector: 14n, error: 0n, address: 0x1008n };
      hang.happened.push(event(tick, at('poll_flag'), 'trap', { name: 'page_fault', fields }));
      // the handler has a fault of its own now and then
      if (tick === 80) hang.happened.push(event(85, at('print'), 'trap', { name: 'page_fault', fields }));
    }
    const report = await why(hang);
    expect(report.chain[1]).toMatchObject({
      what: 'each return of the handler leads to the same fault at once: #PF at 0x1008 (read, not present)',
      tick: 20,
    });
    expect(report.instruction).toBe('mov rax, [rdi+8]');
    expect(report.operand).toBe('the base register rdi is 0x1000');
  });

  it('says that every vCPU waits, and on what', async () => {
    const hang = new FakeCase(verdict('hang', 9, at('print'), 'every vCPU is blocked'));
    const end = hang.moment(9);
    Object.assign(end, { blocked: true });
    end.registers.rip = at('print');
    end.portList = [{ port: 2, kind: 'interdomain', pending: false, masked: false }];
    const { chain, operand } = await why(hang);
    expect(chain[1]!.what).toMatch(/^blocked/);
    expect(chain.at(-1)!.what).toBe('port 2 (interdomain): not pending');
    expect(operand).toBeNull();
  });
});

describe('why of a panic', () => {
  it('names who called it and with which call', async () => {
    const died = new FakeCase(verdict('panic', 70, at('panic'), 'Kernel panic - not syncing: no root'));
    const moment = died.moment(70);
    moment.registers.rip = at('panic');
    moment.registers.rsp = 0x9000n;
    const back = at('activate_tables', 0x40);
    moment.put(TEXT, new Uint8Array(0x600).fill(0x90));
    moment.put(back - 5n, [0xe8, ...new Uint8Array(Int32Array.of(Number(at('panic') - back)).buffer)]);
    moment.put64(0x9000n, back);
    const report = await why(died);
    expect(report.caller).toBe('activate_tables+0x40');
    expect(report.instruction).toBe('call panic');
    expect(report.backtrace.map((f) => f.symbol)).toEqual(['panic', 'activate_tables+0x40']);
  });
});
