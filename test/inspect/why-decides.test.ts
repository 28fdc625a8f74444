/** What `why` takes for the operand that decided, kind by kind, and which of several beginnings of a value it tells. */
import { describe, expect, it } from 'vitest';
import type { Origin, OriginStep } from '../../src/inspect/origin/origin.ts';
import { why } from '../../src/inspect/why.ts';
import { stackOf } from '../../src/machine/xen-pv/refused-arguments.ts';
import { at, event, FakeCase, SYSCALL, verdict } from './fake-case.ts';

const CRASHED = 'domain_crash: create_bounce_frame_bad_bounce_ip';
const step = (tick: number, name: string, instruction: string): OriginStep => ({
  ...{ tick, vcpu: 0, rip: at(name), symbol: name, instruction },
});
const value = (rest: Partial<Origin>): Origin => ({
  ...{ place: 'rax', address: null, value: 0x77n, tick: 9, unchanged: false, above: false, inputs: [] },
  ...{ bytes: { space: 'state', vcpu: 0, offset: 0, bytes: 8 }, step: null, root: null },
  ...rest,
});
const stored = (address: number, tick: number, name: string, rest: Partial<Origin>): Origin =>
  value({
    ...{ place: 'u64[x]', bytes: { space: 'memory', address, bytes: 8 } },
    ...{ step: step(tick, name, 'mov [rdi], rax'), ...rest },
  });
/** A fault of the instruction `code` at tick 19, which ends the run. */
function faulted(code: readonly number[], fields: Record<string, bigint>, registers: Record<string, bigint>): FakeCase {
  const died = new FakeCase(verdict('crash', 20, at('map_image'), CRASHED));
  const moment = died.moment(19);
  Object.assign(moment.registers, { rip: at('map_image'), rsp: 0x9000n, ...registers });
  moment.put(at('map_image'), code);
  died.happened.push(event(19, at('map_image'), 'trap', { fields }));
  return died;
}
/** A refused call at tick 8, after which the kernel asks for a crash. */
function refused(name: string, fields: Record<string, bigint>): FakeCase {
  const died = new FakeCase(verdict('crash', 20, at('panic'), 'the guest reported a crash'));
  died.moment(8).registers.rip = at('map_image');
  died.moment(8).put(at('map_image'), SYSCALL);
  died.happened.push(event(8, at('map_image'), 'hypercall', { name, fields }));
  return died;
}

describe('what decides', () => {
  it("an instruction that is not the guest's", async () => {
    const { decides, root } = await why(faulted([0xfa], { vector: 13n, error: 0n, address: 0n }, {}));
    expect(decides).toMatchObject({ role: 'instruction', text: "cli is not the guest's to use" });
    expect(root).toBeNull();
  });

  it('the index of a table whose slot nobody has filled; the target where somebody has', async () => {
    // call [rax*8+flag]
    const died = faulted(
      [0xff, 0x14, 0xc5, 0x00, 0xf0, 0x10, 0x80],
      { vector: 13n, error: 0n, address: 0n },
      { rax: 5n },
    );
    const slot = at('flag') + 40n;
    died.moment(19).put64(slot, 0x1234000000000000n);
    expect((await why(died)).decides).toMatchObject({
      role: 'index',
      text: 'the index register rax is 0x5, and the call target is 0x1234000000000000',
    });
    const place = { space: 'va' as const, address: slot };
    died.writes.push({ place, tick: 3, vcpu: 0, rip: at('print'), before: 0n, after: 0x1234000000000000n });
    expect((await why(died)).decides).toMatchObject({ role: 'call target' });
  });

  it('the address in the frame that the platform was asked to return by, and the store before it was laid there', async () => {
    const died = new FakeCase(verdict('crash', 20, 0x100n, CRASHED));
    const before = died.moment(18);
    Object.assign(before.registers, { rip: at('print'), rsp: 0x9000n });
    before.put(at('print'), SYSCALL);
    for (let i = 0n; i < 8n; i++) before.put64(0x9000n + 8n * i, i === 4n ? 0x100n : 0n);
    Object.assign(died.moment(19).registers, { rip: 0x100n });
    died.happened.push(event(19, 0x100n, 'trap', { fields: { vector: 14n, error: 16n, address: 0x100n } }));
    died.moment(15).put(at('map_image'), [0x50]);
    died.moment(4).put(at('poll_flag'), [0x48, 0x89, 0x07]);
    const pushed = stored(0x9020, 15, 'map_image', { step: step(15, 'map_image', 'push rax') });
    died.origins = {
      ...pushed,
      inputs: [value({ inputs: [stored(0x400, 4, 'poll_flag', { root: { kind: 'constant' } })] })],
    };
    const { decides, root } = await why(died);
    expect(decides).toMatchObject({ role: 'return slot', tick: 19 });
    expect(died.asked).toEqual([{ space: 'va', address: 0x9020n, bytes: 8 }]);
    expect(root?.store?.symbol).toBe('poll_flag');
  });

  it("the branch that led to a kernel's own end", async () => {
    const died = faulted([0x0f, 0x0b], { vector: 6n, error: 0n, address: 0n }, {});
    died.branch = 12;
    const branch = died.moment(12);
    branch.registers.rip = at('poll_flag');
    branch.put(at('poll_flag'), [0x75, 0x10]); // jne
    died.moment(13).registers.rip = at('poll_flag', 0x12);
    died.origins = value({ inputs: [stored(0x400, 5, 'flag', { root: { kind: 'constant' } })] });
    const { decides, root } = await why(died);
    expect(decides).toMatchObject({ role: 'condition', tick: 12, symbol: 'poll_flag' });
    expect(decides?.text).toMatch(/^the kernel gave up because jne .* was taken$/);
    expect(root?.store?.symbol).toBe('flag');
  });

  it('the branch rather than a refusal that it did not ask for; the call where it asked for its answer in the end', async () => {
    const died = faulted([0x0f, 0x0b], { vector: 6n, error: 0n, address: 0n }, {});
    died.branch = 12;
    died.moment(3).put(at('print'), SYSCALL);
    died.happened.unshift(event(3, at('print'), 'hypercall', { name: 'hypercall_51', fields: { result: -22n } }));
    const asked = value({ inputs: [stored(0x400, 5, 'flag', { root: { kind: 'constant' } })] });
    died.origins = asked;
    expect((await why(died)).decides).toMatchObject({ role: 'condition' });
    // the store that the branch asked for stands behind a branch that asked for the answer
    const answer = value({ step: step(3, 'print', 'syscall'), root: { kind: 'made', by: 'syscall' } });
    died.branchBefore = (tick: number) => Promise.resolve(tick === 5 ? 4 : 12);
    died.origin = (_place, tick) => Promise.resolve(tick === 4 ? answer : asked);
    expect((await why(died)).decides).toMatchObject({ role: 'request', text: 'there is no hypercall 51' });
  });

  it('the word by which the platform was told of a handler that is nowhere', async () => {
    const died = new FakeCase(verdict('crash', 20, 0x5000n, 'domain_crash: create_bounce_frame'));
    const [table, fields] = [at('flag'), { vector: 14n, error: 0n, address: 0x1000n }];
    died
      .moment(3)
      .put64(table, 6n)
      .put64(table + 8n, at('print'));
    died
      .moment(3)
      .put64(table + 16n, 14n)
      .put64(table + 24n, 0x5000n);
    died.happened.push(event(3, at('print'), 'hypercall', { name: 'set_trap_table', fields: { arg0: table } }));
    for (const tick of [18, 19]) {
      const rip = tick === 18 ? at('map_image') : 0x5000n;
      died.happened.push(
        event(tick, rip, 'trap', { fields: tick === 18 ? fields : { ...fields, error: 16n, address: rip } }),
      );
      Object.assign(died.moment(tick).registers, { rip, rsp: 0x9000n - BigInt(tick) * 64n });
    }
    died.moment(18).put(at('map_image'), [0x48, 0x8b, 0x00]);
    const { decides } = await why(died);
    expect(decides).toMatchObject({ role: 'gate', text: 'the handler of vector 14 is at 0x5000', tick: 3 });
    expect(died.asked.at(-1)).toMatchObject({ address: (table + 24n) & 0xffffffn });
  });

  it('the number of a call that does not exist, where the branch asked for its answer', async () => {
    const died = faulted([0x0f, 0x0b], { vector: 6n, error: 0n, address: 0n }, {});
    died.branch = 12;
    died.moment(8).put(at('print'), SYSCALL);
    died.happened.unshift(event(8, at('print'), 'hypercall', { name: 'hypercall_51', fields: { result: -38n } }));
    died.origins = value({ step: step(8, 'print', 'syscall'), root: { kind: 'made', by: 'syscall' } });
    const { decides } = await why(died);
    expect(decides).toMatchObject({ role: 'request', text: 'there is no hypercall 51', tick: 8 });
    expect(died.asked.at(-1)).toEqual({ space: 'register', name: 'rax', vcpu: 0 });
  });
});

describe('what decides where an access went too far', () => {
  const unmapped = { vector: 14n, error: 2n, address: 0x20_0000n };

  it('the count of a string instruction, as it began', async () => {
    const died = faulted([0xf3, 0xa4], unmapped, { rdi: 0x20_0000n, rsi: 0x5000n, rcx: 0x100n });
    for (const tick of [18, 17, 16])
      Object.assign(died.moment(tick).registers, { rip: at('map_image'), rcx: 0x100n + BigInt(19 - tick) });
    expect((await why(died)).decides).toMatchObject({
      role: 'count',
      text: 'the count rcx was 0x103, 3 rounds of which went before the fault',
    });
    expect(died.asked).toEqual([{ space: 'register', name: 'rcx', vcpu: 0 }]);
  });

  it('the bound of a loop that counts an address up; the base where nothing counts it', async () => {
    // mov [rdi], rax, behind cmp rdi, rsi; jne
    const died = faulted([0x48, 0x89, 0x07], unmapped, { rdi: 0x20_0000n, rsi: 0x77_0000n });
    const compare = died.moment(17);
    Object.assign(compare.registers, { rdi: 0x20_0000n, rsi: 0x77_0000n });
    compare.put(at('print'), [0x48, 0x39, 0xf7]);
    died.branch = 18;
    let counted = stored(0x400, 2, 'flag', { root: { kind: 'constant' } });
    for (let i = 0; i < 6; i++) counted = value({ step: step(3 + i, 'poll_flag', 'add rdi, 8'), inputs: [counted] });
    const flags = value({ step: step(17, 'print', 'cmp rdi, rsi'), inputs: [counted] });
    const bound = stored(0x500, 1, 'panic', { root: { kind: 'constant' } });
    let of: Record<string, Origin> = { rdi: counted, rsi: bound, flags };
    died.origin = (place) => Promise.resolve(place.space === 'register' ? of[place.name]! : null);
    const { decides, root } = await why(died);
    expect(decides).toMatchObject({ role: 'count', text: 'the loop goes on to 0x770000' });
    expect(root?.store?.symbol).toBe('panic');
    of = { ...of, rdi: bound };
    expect((await why(died)).decides).toMatchObject({ role: 'base' });
  });
});

describe('what decides a refused call', () => {
  it('of update_va_mapping the entry', async () => {
    const died = refused('update_va_mapping', { arg0: 0x7000n, arg1: 0x104067n, result: -22n });
    expect((await why(died)).decides?.text).toBe('the call asks for the entry 0x104067 for the page 0x7000');
    expect(died.asked).toEqual([{ space: 'register', name: 'rsi', vcpu: 0 }]);
  });

  it('of set_gdt the frame that Xen names', async () => {
    const died = refused('set_gdt', { arg0: at('gdt'), arg1: 1024n, result: -22n });
    died.moment(8).put64(at('gdt'), 0x1103n).put64(at('gdt', 8), 0x1104n);
    const text =
      '(XEN) mm.c:2940:d1v0 Bad type (saw e400000000000001 != exp a000000000000000) for mfn 01104 (pfn 00104)';
    died.happened.unshift(event(8, at('map_image'), 'log', { text }));
    expect((await why(died)).decides?.text).toBe('frame 1 of the list is 0x1104');
  });

  it('of mmu_update the word without which it does not fail', async () => {
    const died = refused('mmu_update', { arg0: at('flag'), arg2: 0n, result: -22n });
    died.moment(8).put64(at('flag'), 0x5000n).put64(at('flag', 8), 0x10e067n);
    const [first, second] = [0x10f000, 0x10f008];
    died.origin = (place) =>
      Promise.resolve(
        place.space !== 'register' && Number(place.address) === first
          ? stored(first, 3, 'print', { root: { kind: 'constant' } })
          : stored(second, 4, 'panic', { root: { kind: 'constant' } }),
      );
    const end = {
      kind: 'stop' as const,
      tick: 20,
      stop: { verdict: { kind: 'crash' as const, message: 'as before' } },
    };
    died.without = ({ address }) => (address === second ? (end as never) : ({ kind: 'running', tick: 99 } as never));
    const report = await why(died);
    expect(report.root?.store?.symbol).toBe('print');
    expect(report.confirmed).toBe(true);
  });

  it('of event_channel_op the words of its operation, one after the other', async () => {
    const died = refused('event_channel_op', { arg0: 1n, arg1: at('flag'), result: -22n });
    died.moment(8).put64(at('flag'), 0x0000_0005_0000_0003n);
    died.origins = stored(0x10f000, 3, 'print', { root: { kind: 'constant' } });
    died.without = () => ({ kind: 'stop', tick: 20, stop: { verdict: { kind: 'crash', message: '' } } }) as never;
    const report = await why(died);
    expect(report.decides?.text).toBe('the call asks for 0x3');
    expect(died.asked.map((place) => (place.space === 'register' ? 0n : place.address))).toEqual([
      0x10f000n,
      0x10f004n,
    ]);
    expect(report.confirmed).toBe(false);
  });

  it('the stack that events from user mode did not find', () => {
    const call = event(3, at('print'), 'hypercall', { name: 'stack_switch', fields: { arg1: 0x81104fc8n } });
    expect(stackOf(call, 'domain_crash: create_bounce_frame')).toMatchObject({
      place: { space: 'register', name: 'rsi' },
      text: 'the stack for events from user mode is 0x81104fc8',
    });
    expect(stackOf(call, CRASHED)).toBeNull();
    expect(stackOf({ ...call, name: 'set_gdt' }, 'domain_crash: create_bounce_frame')).toBeNull();
  });
});

describe('which beginning of a value is told', () => {
  const LOAD = [0x48, 0x8b, 0x00]; // mov rax, [rax]
  const constant = value({ step: step(5, 'print', 'mov edx, 1'), root: { kind: 'constant' } });
  const given = value({ root: { kind: 'built', provenance: { what: 'initrd', offset: 10, given: true } } });
  const bad = (): FakeCase => faulted(LOAD, { vector: 13n, error: 0n, address: 0n }, { rax: 0x77n << 48n });

  it('what came from outside the code rather than its constants', async () => {
    const died = bad();
    died.origins = value({ step: step(7, 'panic', 'shl rdx, cl'), inputs: [constant, given] });
    expect((await why(died)).root?.source).toMatchObject({ kind: 'built', what: 'initrd', offset: 10 });
  });

  it('what somebody gave the guest rather than what its builder put there, and what was stored rather than a constant', async () => {
    const died = bad();
    const builder = value({ root: { kind: 'built', provenance: { what: 'p2m list', offset: 8 } } });
    died.origins = value({ step: step(7, 'panic', 'add rdx, rcx'), inputs: [builder, given] });
    expect((await why(died)).root?.source.what).toBe('initrd');
    died.origins = value({
      step: step(7, 'panic', 'add rdx, rcx'),
      inputs: [constant, stored(0x400, 4, 'flag', { root: { kind: 'constant' } })],
    });
    expect((await why(died)).root?.store?.symbol).toBe('flag');
  });

  it('what a store put in rather than what it left as it was', async () => {
    const died = bad();
    const old = stored(0x400, 2, 'flag', { root: given.root });
    died.origins = stored(0x400, 7, 'panic', { inputs: [old, constant] });
    expect((await why(died)).root).toMatchObject({ store: { symbol: 'panic' }, source: { kind: 'constant' } });
  });

  it('a store that wrote what was there, where there is no other', async () => {
    const died = bad();
    died.origins = value({ inputs: [stored(0x400, 7, 'panic', { unchanged: true, inputs: [constant] })] });
    expect((await why(died)).root?.store?.symbol).toBe('panic');
  });
});
