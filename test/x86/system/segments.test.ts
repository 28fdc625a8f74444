/** Segment loads, access-rights queries and far transfers (SDM vol. 2 MOV, LAR, JMP, CALL, RET; vol. 3A 5). */
import { expect, test } from 'vitest';
import { fault } from '../../../src/x86/seam.ts';
import { FLAG, SEG, VECTOR } from '../../../src/x86/state.ts';
import { Bench, CODE_AT, GDT_AT, gp, SELECTOR, STACK } from './bench.ts';

test('MOV SS holds interrupts back once; the accessed bit is set', () => {
  const b = new Bench();
  expect(b.run('8e d0', { rax: BigInt(SELECTOR.data) })).toBeNull();
  expect(b.cpu.num('interruptShadow')).toBe(2);
  expect((b.memory.peek(GDT_AT + SELECTOR.data, 8) >> 40n) & 1n).toBe(1n);
});

test('segment loads check null, limit, type, privilege and presence', () => {
  const b = new Bench();
  expect(b.run('8e d8', { rax: 0n })).toBeNull(); // DS may be null
  expect(b.cpu.selector('ds')).toBe(0);
  expect(b.run('8e d8', { rax: 0x1000n })).toEqual(gp(0x1000));
  expect(b.run('8e d8', { rax: BigInt(SELECTOR.tss) })).toEqual(gp(SELECTOR.tss));
  expect(b.run('8e d8', { rax: BigInt(SELECTOR.absent) })).toEqual(fault(VECTOR.np, SELECTOR.absent));
  expect(b.run('8e d0', { rax: BigInt(SELECTOR.absent) })).toEqual(fault(VECTOR.ss, SELECTOR.absent));
  expect(b.run('8e d0', { rax: BigInt(SELECTOR.userData) })).toEqual(gp(SELECTOR.userData & ~3));
  b.enterUser();
  expect(b.run('8e d8', { rax: BigInt(SELECTOR.data) })).toEqual(gp(SELECTOR.data));
  expect(b.run('8e d8', { rax: BigInt(SELECTOR.userData) })).toBeNull();
  expect(b.run('8e d0', { rax: 3n })).toEqual(gp()); // a null SS needs CPL < 3
  const inner = new Bench();
  expect(inner.run('8e d0', { rax: 0n })).toBeNull();
  expect(new Bench(false).run('8e d0', { rax: 0n })).toEqual(gp());
});

test('POP FS moves the stack pointer only when it succeeds', () => {
  const b = new Bench();
  b.memory.poke(STACK.user, 8, BigInt(SELECTOR.absent));
  expect(b.run('0f a1')).toEqual(fault(VECTOR.np, SELECTOR.absent));
  expect(b.cpu.rsp).toBe(BigInt(STACK.user));
  b.memory.poke(STACK.user, 8, BigInt(SELECTOR.userData));
  expect(b.run('0f a1')).toBeNull();
  expect([b.cpu.rsp, b.cpu.selector('fs')]).toEqual([BigInt(STACK.user + 8), SELECTOR.userData]);
});

test('LSS loads register and segment', () => {
  const b = new Bench();
  b.memory.poke(0x8000, 8, (BigInt(SELECTOR.data) << 32n) | 0x1234n);
  expect(b.run('0f b2 27', { rdi: 0x8000n })).toBeNull(); // lss esp, [rdi]
  expect(b.cpu.rsp).toBe(0x1234n);
});

test('LAR, LSL, VERR, VERW', () => {
  const b = new Bench();
  b.enterUser();
  const zf = (): boolean => (b.cpu.rflags & FLAG.zf) !== 0;
  // a 64-bit user code segment reads 0xaffb00 on silicon
  b.run('0f 02 c1', { rcx: BigInt(SELECTOR.userCode64) });
  expect([b.cpu.gpr(0), zf()]).toEqual([0xaffb00n, true]);
  b.run('0f 03 c1', { rcx: BigInt(SELECTOR.userData) });
  expect([b.cpu.gpr(0), zf()]).toEqual([0xffffffffn, true]);
  b.run('0f 02 c1', { rcx: BigInt(SELECTOR.data), rax: 7n }); // DPL 0 from CPL 3
  expect([b.cpu.gpr(0), zf()]).toEqual([7n, false]);
  b.run('0f 00 e1', { rcx: BigInt(SELECTOR.userCode64) }); // verr
  expect(zf()).toBe(true);
  b.run('0f 00 e9', { rcx: BigInt(SELECTOR.userCode64) }); // verw of code
  expect(zf()).toBe(false);
  b.run('0f 00 e9', { rcx: BigInt(SELECTOR.userData) });
  expect(zf()).toBe(true);
  b.run('0f 00 e1', { rcx: 0n });
  expect(zf()).toBe(false);
});

test('far JMP to compatibility mode and back', () => {
  const b = new Bench();
  b.memory.poke(0x8000, 6, (BigInt(SELECTOR.code32) << 32n) | 0x5000n);
  expect(b.run('ff 2f', { rdi: 0x8000n })).toBeNull();
  expect([b.cpu.rip, b.cpu.num('codeMode'), b.cpu.selector('cs')]).toEqual([0x5000n, 1, SELECTOR.code32]);
  expect(b.run('ea 00 60 00 00 08 00')).toBeNull();
  expect([b.cpu.rip, b.cpu.num('codeMode')]).toEqual([0x6000n, 2]);
});

test('far JMP refuses null, data, inner and absent targets', () => {
  const b = new Bench();
  const jump = (selector: number): unknown => {
    b.memory.poke(0x8000, 6, (BigInt(selector) << 32n) | 0x5000n);
    return b.run('ff 2f', { rdi: 0x8000n });
  };
  expect(jump(0)).toEqual(gp());
  expect(jump(SELECTOR.data)).toEqual(gp(SELECTOR.data));
  expect(jump(SELECTOR.userCode64)).toEqual(gp(SELECTOR.userCode64 & ~3));
  b.memory.poke(GDT_AT + SELECTOR.absent, 8, 0x00cf1a000000ffffn);
  expect(jump(SELECTOR.absent)).toEqual(fault(VECTOR.np, SELECTOR.absent));
  // L and D together
  b.memory.poke(GDT_AT + SELECTOR.absent, 8, 0x00ef9a000000ffffn);
  expect(jump(SELECTOR.absent)).toEqual(gp(SELECTOR.absent));
  expect(b.cpu.rip).toBe(BigInt(CODE_AT));
});

test('far CALL and RETF at one privilege level', () => {
  const b = new Bench();
  b.memory.poke(0x8000, 6, (BigInt(SELECTOR.code64) << 32n) | 0x5000n);
  expect(b.run('ff 1f', { rdi: 0x8000n })).toBeNull();
  expect(b.stack(2, 4)).toEqual([BigInt(CODE_AT + 2), BigInt(SELECTOR.code64)]);
  expect(b.cpu.rsp).toBe(BigInt(STACK.user - 8));
  expect(b.run('ca 08 00')).toBeNull();
  expect([b.cpu.rip, b.cpu.rsp]).toEqual([BigInt(CODE_AT + 2), BigInt(STACK.user + 8)]);
});

test('a 64-bit call gate switches to RSP0 and RETF comes back', () => {
  const b = new Bench();
  const gate = 0x5000n | (BigInt(SELECTOR.code64) << 16n) | (0xecn << 40n);
  b.memory.poke(GDT_AT + SELECTOR.callGate, 16, gate);
  b.enterUser();
  b.memory.poke(0x8000, 6, BigInt(SELECTOR.callGate | 3) << 32n);
  expect(b.run('ff 1f', { rdi: 0x8000n })).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.selector('ss')]).toEqual([0x5000n, 0, 0]);
  expect(b.cpu.rsp).toBe(BigInt(STACK.inner - 32));
  expect(b.stack(4)).toEqual([
    BigInt(CODE_AT + 2),
    BigInt(SELECTOR.userCode64),
    BigInt(STACK.user),
    BigInt(SELECTOR.userData),
  ]);
  expect(b.run('48 cb')).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.rsp]).toEqual([BigInt(CODE_AT + 2), 3, BigInt(STACK.user)]);
  // DS held a DPL 0 segment and is null now
  expect(b.cpu.selector('ds')).toBe(0);
});

test('a 32-bit call gate copies its parameters', () => {
  const b = new Bench(false);
  const gate = 0x5000n | (BigInt(SELECTOR.code32) << 16n) | (2n << 32n) | (0xecn << 40n);
  b.memory.poke(GDT_AT + SELECTOR.callGate, 8, gate);
  b.enterUser();
  b.memory.poke(STACK.user, 4, 0x11n);
  b.memory.poke(STACK.user + 4, 4, 0x22n);
  expect(b.run(`9a 00 00 00 00 ${(SELECTOR.callGate | 3).toString(16)} 00`)).toBeNull();
  expect(b.stack(6, 4)).toEqual([
    BigInt(CODE_AT + 7),
    BigInt(SELECTOR.userCode32),
    0x11n,
    0x22n,
    BigInt(STACK.user),
    BigInt(SELECTOR.userData),
  ]);
  expect(b.run('ca 08 00')).toBeNull();
  expect([b.cpu.rip, b.cpu.cpl, b.cpu.rsp]).toEqual([BigInt(CODE_AT + 7), 3, BigInt(STACK.user + 8)]);
});

test('LLDT and a segment from the LDT', () => {
  const b = new Bench();
  b.memory.poke(GDT_AT + SELECTOR.ldt, 16, (0x6000n << 16n) | 0xfn | (0x82n << 40n));
  expect(b.run('0f 00 d0', { rax: BigInt(SELECTOR.ldt) })).toBeNull();
  expect(b.cpu.get('segmentBase', SEG.ldtr)).toBe(0x6000n);
  b.memory.poke(0x6008, 8, 0x00cf92001234ffffn);
  expect(b.run('8e e0', { rax: 0xcn })).toBeNull(); // fs from LDT entry 1
  expect(b.cpu.get('segmentBase', SEG.fs)).toBe(0x1234n);
  expect(b.run('8e e0', { rax: 0x14n })).toEqual(gp(0x14));
});
