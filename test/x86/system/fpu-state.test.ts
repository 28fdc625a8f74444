/** FPU state in memory; the images are what silicon stored after `fninit; fld1; fldz; fldpi`. */
import { expect, test } from 'vitest';
import { fault } from '../../../src/x86/seam.ts';
import { VECTOR } from '../../../src/x86/state.ts';
import { initialiseFpu } from '../../../src/x86/system/fpu-state.ts';
import { Bench, gp } from './bench.ts';

const PI = 0x4000c90fdaa22168c235n;
const ONE = 0x3fff8000000000000000n;
const AT = 0x8000;
const hex = (b: Bench, from: number, count: number): string =>
  Array.from(b.memory.bytes.subarray(from, from + count), (x) => x.toString(16).padStart(2, '0')).join(' ');

function loaded(long = true): Bench {
  const b = new Bench(long);
  initialiseFpu(b.cpu);
  b.cpu.set('mxcsr', 0x1f80);
  b.cpu.set('ftop', 5);
  b.cpu.set('ftags', 0xe0);
  b.cpu.set('fpr', PI, 5);
  b.cpu.set('fpr', 0n, 6);
  b.cpu.set('fpr', ONE, 7);
  b.cpu.setGpr(7, BigInt(AT));
  return b;
}

test('FXSAVE has the layout of silicon', () => {
  const b = loaded();
  b.cpu.set('xmm', 0x1122334455667788_99aabbccddeeff00n, 15);
  expect(b.run('0f ae 07')).toBeNull();
  expect(hex(b, AT, 8)).toBe('7f 03 00 28 e0 00 00 00');
  expect(hex(b, AT + 24, 8)).toBe('80 1f 00 00 ff ff 00 00');
  expect(hex(b, AT + 32, 16)).toBe('35 c2 68 21 a2 da 0f c9 00 40 00 00 00 00 00 00');
  expect(hex(b, AT + 64, 16)).toBe('00 00 00 00 00 00 00 80 ff 3f 00 00 00 00 00 00');
  expect(b.memory.peek(AT + 160 + 240, 16)).toBe(0x1122334455667788_99aabbccddeeff00n);
});

test('FXRSTOR restores what FXSAVE saved', () => {
  const b = loaded();
  b.cpu.set('fip', 0x1_2345_6789n);
  b.cpu.set('xmm', 0xabcn, 9);
  b.run('48 0f ae 07');
  const saved = new Uint8Array(b.cpu.view.buffer).slice();
  initialiseFpu(b.cpu);
  for (const n of [5, 6, 7]) b.cpu.set('fpr', 0n, n);
  b.cpu.set('xmm', 0n, 9);
  b.cpu.rip -= 4n;
  expect(b.run('48 0f ae 0f')).toBeNull();
  expect(new Uint8Array(b.cpu.view.buffer)).toEqual(saved);
});

test('FXSAVE needs alignment and FXRSTOR a valid MXCSR; CR0.TS makes both #NM', () => {
  const b = loaded();
  b.cpu.setGpr(7, BigInt(AT + 8));
  expect(b.run('0f ae 07')).toEqual(gp());
  b.cpu.setGpr(7, BigInt(AT));
  b.memory.poke(AT + 24, 4, 0x10000n);
  expect(b.run('0f ae 0f')).toEqual(gp());
  b.cpu.set('cr0', 0x80000019);
  expect(b.run('0f ae 07')).toEqual(fault(VECTOR.nm));
});

test('FXSAVE looks at canonical form before alignment, as on silicon', () => {
  const b = loaded();
  b.cpu.setGpr(5, 0xffff_7fff_fffe_fffen);
  expect(b.run('0f ae 45 00')).toEqual(fault(VECTOR.ss));
  expect(b.run('0f ae 4d 00')).toEqual(fault(VECTOR.ss));
  b.cpu.setGpr(5, 0x7fff_ffff_fffcn);
  expect(b.run('0f ae 45 00')).toEqual(gp());
});

test('the summary bits follow flags and masks, as on silicon', () => {
  const b = loaded();
  b.run('0f ae 07');
  b.memory.bytes.set([0x7e, 0x03, 0x01, 0x80], AT);
  b.run('0f ae 0f');
  expect([b.cpu.num('fsw'), b.cpu.num('fcw')]).toEqual([0x8081, 0x37e]);
  b.memory.bytes.set([0x7f, 0xe3, 0x80, 0x80], AT);
  b.run('0f ae 0f');
  expect([b.cpu.num('fsw'), b.cpu.num('fcw')]).toEqual([0, 0x37f]);
});

test('FNSTENV, 32-bit and 16-bit, masks all exceptions afterwards', () => {
  const b = loaded();
  b.cpu.set('fcw', 0x340);
  expect(b.run('d9 37')).toBeNull();
  expect(hex(b, AT, 12)).toBe('40 03 ff ff 00 28 ff ff ff 13 ff ff');
  expect(hex(b, AT + 24, 4)).toBe('00 00 ff ff');
  expect(b.cpu.num('fcw')).toBe(0x37f);
  b.memory.bytes.fill(0xcc, AT, AT + 20);
  b.run('66 d9 37');
  expect(hex(b, AT, 6)).toBe('7f 03 00 28 ff 13');
  expect(hex(b, AT + 14, 2)).toBe('cc cc');
});

test('FNSAVE initialises, FRSTOR brings back', () => {
  const b = loaded(false);
  expect(b.run('dd 37')).toBeNull();
  expect(hex(b, AT + 28, 10)).toBe('35 c2 68 21 a2 da 0f c9 00 40');
  expect([b.cpu.num('ftop'), b.cpu.num('ftags'), b.cpu.num('fcw')]).toEqual([0, 0, 0x37f]);
  b.cpu.set('fpr', 0n, 5);
  expect(b.run('dd 27')).toBeNull();
  expect([b.cpu.num('ftop'), b.cpu.num('ftags'), b.cpu.get('fpr', 5)]).toEqual([5, 0xe0, PI]);
});

test('FLDENV reports a pending exception first', () => {
  const b = loaded();
  b.cpu.set('cr0', b.cpu.get('cr0') | 0x20n); // NE
  b.cpu.set('fsw', 0x8081);
  expect(b.run('d9 27')).toEqual(fault(VECTOR.mf));
});
