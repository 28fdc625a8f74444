/** Delivery of exceptions and interrupts by the IDT machine, and IRET (SDM vol. 3A 6.12-6.15). */
import { expect, test } from 'vitest';
import { fault } from '../../src/x86/seam.ts';
import { FLAG, VECTOR } from '../../src/x86/state.ts';
import { Bench, CODE_AT, gp, IDT_AT, SELECTOR, STACK } from '../x86/system/bench.ts';

const HANDLER = 0x5000;

test('INT n from user mode: RSP0, aligned frame, IF cleared; IRETQ returns', () => {
  const b = new Bench();
  b.gate(0x80, HANDLER, { dpl: 3 });
  b.enterUser();
  b.cpu.rflags = FLAG.if | FLAG.tf | FLAG.cf | 2;
  expect(b.run('cd 80')).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.selector('cs'), b.cpu.selector('ss')]).toEqual([
    BigInt(HANDLER),
    0,
    SELECTOR.code64,
    0,
  ]);
  // 0xa008 is aligned down to 0xa000 before the five pushes
  expect(b.cpu.rsp).toBe(BigInt(STACK.inner - 8 - 40));
  expect(b.stack(5)).toEqual([
    BigInt(CODE_AT + 2),
    BigInt(SELECTOR.userCode64),
    BigInt(FLAG.if | FLAG.tf | FLAG.cf | 2),
    BigInt(STACK.user),
    BigInt(SELECTOR.userData),
  ]);
  expect(b.cpu.rflags).toBe(FLAG.cf | 2);
  b.cpu.set('nmiBlocked', 1);
  expect(b.run('48 cf')).toBeNull();
  expect([b.cpu.rip, b.cpu.rsp, b.cpu.cpl, b.cpu.rflags]).toEqual([
    BigInt(CODE_AT + 2),
    BigInt(STACK.user),
    3,
    FLAG.if | FLAG.tf | FLAG.cf | 2,
  ]);
  expect(b.cpu.num('nmiBlocked')).toBe(0);
});

test('a trap gate leaves IF', () => {
  const b = new Bench();
  b.gate(3, HANDLER, { dpl: 3, type: 15 });
  b.cpu.rflags = FLAG.if | 2;
  expect(b.run('cc')).toBeNull();
  expect(b.cpu.rflags).toBe(FLAG.if | 2);
  expect(b.stack(1)).toEqual([BigInt(CODE_AT + 1)]);
});

test('INT n through a gate of less DPL is #GP at the instruction', () => {
  const b = new Bench();
  b.gate(0x80, HANDLER);
  b.enterUser();
  expect(b.run('cd 80')).toEqual(gp(0x80 * 8 + 2));
  expect(b.cpu.rip).toBe(BigInt(CODE_AT));
  // ICEBP is not checked against the DPL
  b.gate(VECTOR.db, HANDLER);
  expect(b.run('f1')).toBeNull();
  expect(b.stack(1)).toEqual([BigInt(CODE_AT + 1)]);
});

test('a page fault pushes its error code, sets CR2 and RF, and uses the IST', () => {
  const b = new Bench();
  b.gate(VECTOR.pf, HANDLER, { ist: 1 });
  expect(b.raise(VECTOR.pf, 2, 0xdead000n)).toBeNull();
  expect(b.cpu.get('cr2')).toBe(0xdead000n);
  expect(b.cpu.rsp).toBe(BigInt(STACK.ist1 - 8 - 48));
  expect(b.stack(6)).toEqual([
    2n,
    BigInt(CODE_AT),
    BigInt(SELECTOR.code64),
    BigInt(FLAG.rf | 2),
    BigInt(STACK.user),
    BigInt(SELECTOR.data),
  ]);
  // SS stays when the privilege does
  expect(b.cpu.selector('ss')).toBe(SELECTOR.data);
});

test('a missing gate for a contributory exception is a double fault', () => {
  const b = new Bench();
  b.gate(VECTOR.df, HANDLER);
  expect(b.raise(VECTOR.gp, 0)).toBeNull();
  expect(b.cpu.rip).toBe(BigInt(HANDLER));
  expect(b.stack(2)).toEqual([0n, BigInt(CODE_AT)]);
});

test('a fault while delivering a benign exception is delivered in its place', () => {
  const b = new Bench();
  b.gate(VECTOR.gp, HANDLER);
  expect(b.raise(VECTOR.ud)).toBeNull();
  // error code: the gate of #UD in the IDT, external
  expect(b.stack(1)).toEqual([BigInt(VECTOR.ud * 8 + 3)]);
});

test('a page fault on the stack while delivering a page fault is a double fault', () => {
  const b = new Bench();
  b.gate(VECTOR.pf, HANDLER);
  b.gate(VECTOR.df, HANDLER + 16, { ist: 1 });
  b.cpu.rsp = 0x90000n;
  expect(b.raise(VECTOR.pf, 0, 0x55000n)).toBeNull();
  expect(b.cpu.rip).toBe(BigInt(HANDLER + 16));
});

test('no handler at all ends in a triple fault', () => {
  const b = new Bench();
  b.cpu.set('idtrLimit', 0);
  expect(b.raise(VECTOR.gp)).toMatchObject({ stop: true, verdict: { kind: 'triple-fault' } });
});

test('a gate that is not present is #NP with the IDT bit', () => {
  const b = new Bench();
  b.gate(0x40, HANDLER, { dpl: 3 });
  b.memory.bytes[IDT_AT + 0x40 * 16 + 5]! &= 0x7f;
  expect(b.run('cd 40')).toEqual(fault(VECTOR.np, 0x40 * 8 + 2));
});

test('an external interrupt waits for IF and the shadow, and ends a halt', () => {
  const b = new Bench();
  b.gate(0x20, HANDLER);
  expect(b.machine.canInterrupt(b.cpu)).toBe(false);
  b.run('fb');
  expect(b.machine.canInterrupt(b.cpu)).toBe(false);
  b.cpu.set('interruptShadow', 0);
  b.cpu.set('halted', 1);
  expect(b.machine.canInterrupt(b.cpu)).toBe(true);
  expect(b.machine.deliver(b.cpu, 'external', fault(0x20), null)).toBeNull();
  expect([b.cpu.rip, b.cpu.num('halted'), b.machine.canInterrupt(b.cpu)]).toEqual([BigInt(HANDLER), 0, false]);
});

test('32-bit: a gate to ring 0 takes SS0:ESP0, IRETD returns outward', () => {
  const b = new Bench(false);
  b.gate(0x80, HANDLER, { dpl: 3 });
  b.enterUser();
  b.cpu.rflags = FLAG.if | 2;
  expect(b.run('cd 80')).toBeNull();
  expect([b.cpu.cpl, b.cpu.selector('ss'), b.cpu.rsp]).toEqual([0, SELECTOR.data, BigInt(STACK.inner - 20)]);
  expect(b.stack(5, 4)).toEqual([
    BigInt(CODE_AT + 2),
    BigInt(SELECTOR.userCode32),
    BigInt(FLAG.if | 2),
    BigInt(STACK.user),
    BigInt(SELECTOR.userData),
  ]);
  expect(b.run('cf')).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.rsp, b.cpu.rflags]).toEqual([
    BigInt(CODE_AT + 2),
    3,
    BigInt(STACK.user),
    FLAG.if | 2,
  ]);
});

test('32-bit: a fault at the same privilege pushes no stack pointer', () => {
  const b = new Bench(false);
  b.gate(VECTOR.gp, HANDLER);
  expect(b.raise(VECTOR.gp, 0x18)).toBeNull();
  expect(b.stack(4, 4)).toEqual([0x18n, BigInt(CODE_AT), BigInt(SELECTOR.code32), BigInt(FLAG.rf | 2)]);
  expect(b.cpu.rsp).toBe(BigInt(STACK.user - 16));
});

test('IRETQ to a null SS is allowed below CPL 3 only; NT is #GP(0)', () => {
  const b = new Bench();
  const frame = (cs: number, ss: number): void => {
    for (const [i, value] of [0x7000, cs, 2, 0x9100, ss].entries()) b.memory.poke(STACK.user + i * 8, 8, BigInt(value));
    b.cpu.rsp = BigInt(STACK.user);
  };
  frame(SELECTOR.code64, 0);
  expect(b.run('48 cf')).toBeNull();
  expect([b.cpu.rip, b.cpu.rsp, b.cpu.selector('ss')]).toEqual([0x7000n, 0x9100n, 0]);
  frame(SELECTOR.userCode64, 3);
  expect(b.run('48 cf')).toEqual(gp());
  frame(SELECTOR.code64, 0);
  b.cpu.rflags |= FLAG.nt;
  expect(b.run('48 cf')).toEqual(gp());
});

test('IRETQ to compatibility mode', () => {
  const b = new Bench();
  for (const [i, value] of [0x7000, SELECTOR.userCode32, 0x202, 0x9100, SELECTOR.userData].entries())
    b.memory.poke(STACK.user + i * 8, 8, BigInt(value));
  expect(b.run('48 cf')).toBeNull();
  expect([b.cpu.rip, b.cpu.num('codeMode'), b.cpu.cpl]).toEqual([0x7000n, 1, 3]);
});

test('INTO raises only with OF', () => {
  const b = new Bench(false);
  b.gate(VECTOR.of, HANDLER, { dpl: 3 });
  expect(b.run('ce')).toBeNull();
  expect(b.cpu.rip).toBe(BigInt(CODE_AT + 1));
  b.cpu.rflags |= FLAG.of;
  expect(b.run('ce')).toBeNull();
  expect(b.cpu.rip).toBe(BigInt(HANDLER));
});
