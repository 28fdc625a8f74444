/** The x87 escape opcodes D8 to DF (SDM vol. 2 tables ), with the undocumented aliases that every CPU executes. */
import { having, type Row, row } from './row.ts';

const ARITHMETIC = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'];
const integerOf = (name: string): string => `fi${name.slice(1)}`;

/** Instructions of D9 E0 to FF by their last byte. */
const D9_SINGLE: ReadonlyArray<readonly [string, string]> = [
  ['E0', 'fchs'],
  ['E1', 'fabs'],
  ['E4', 'ftst'],
  ['E5', 'fxam'],
  ['E8', 'fld1'],
  ['E9', 'fldl2t'],
  ['EA', 'fldl2e'],
  ['EB', 'fldpi'],
  ['EC', 'fldlg2'],
  ['ED', 'fldln2'],
  ['EE', 'fldz'],
  ['F0', 'f2xm1'],
  ['F1', 'fyl2x'],
  ['F2', 'fptan'],
  ['F3', 'fpatan'],
  ['F4', 'fxtract'],
  ['F5', 'fprem1'],
  ['F6', 'fdecstp'],
  ['F7', 'fincstp'],
  ['F8', 'fprem'],
  ['F9', 'fyl2xp1'],
  ['FA', 'fsqrt'],
  ['FB', 'fsincos'],
  ['FC', 'frndint'],
  ['FD', 'fscale'],
  ['FE', 'fsin'],
  ['FF', 'fcos'],
];
/** First byte of the eight ModRM values that select operation `n` with a register. */
const registers = (n: number): string => `${(0xc0 + n * 8).toString(16).toUpperCase()}+i`;
/** DC and DE exchange the roles of subtraction and its reverse in their register forms. */
const REVERSED = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsubr', 'fsub', 'fdivr', 'fdiv'];

const ROWS: readonly Row[] = [
  ...ARITHMETIC.flatMap((name, n) => [
    row(`D8 /${n}`, name, 'ST0,Md'),
    row(`D8 ${registers(n)}`, name, 'ST0,STi'),
    row(`DA /${n}`, integerOf(name), 'ST0,Md'),
    row(`DC /${n}`, name, 'ST0,Mq'),
    row(`DE /${n}`, integerOf(name), 'ST0,Mw'),
  ]),
  ...REVERSED.map((name, n) => row(`DC ${registers(n)}`, name, name.startsWith('fcom') ? 'ST0,STi' : 'STi,ST0')),
  ...REVERSED.flatMap((name, n) => (n === 2 || n === 3 ? [] : [row(`DE ${registers(n)}`, `${name}p`, 'STi,ST0')])),
  row('D9 /0', 'fld', 'Md'),
  row('D9 /2', 'fst', 'Md'),
  row('D9 /3', 'fstp', 'Md'),
  row('D9 /4', 'fldenv', 'M', 'v sys'),
  row('D9 /5', 'fldcw', 'Mw'),
  row('D9 /6', 'fnstenv', 'M', 'v sys'),
  row('D9 /7', 'fnstcw', 'Mw'),
  row('D9 C0+i', 'fld', 'STi'),
  row('D9 C8+i', 'fxch', 'ST0,STi'),
  row('D9 D0', 'fnop'),
  row('D9 D8+i', 'fstpnce', 'STi'),
  ...D9_SINGLE.map(([modrm, name]) => row(`D9 ${modrm}`, name)),
  row('DA C0+i', 'fcmovb', 'ST0,STi'),
  row('DA C8+i', 'fcmove', 'ST0,STi'),
  row('DA D0+i', 'fcmovbe', 'ST0,STi'),
  row('DA D8+i', 'fcmovu', 'ST0,STi'),
  row('DA E9', 'fucompp'),
  row('DB /0', 'fild', 'Md'),
  row('DB /1', 'fisttp', 'Md', 'sse3'),
  row('DB /2', 'fist', 'Md'),
  row('DB /3', 'fistp', 'Md'),
  row('DB /5', 'fld', 'Mt'),
  row('DB /7', 'fstp', 'Mt'),
  row('DB C0+i', 'fcmovnb', 'ST0,STi'),
  row('DB C8+i', 'fcmovne', 'ST0,STi'),
  row('DB D0+i', 'fcmovnbe', 'ST0,STi'),
  row('DB D8+i', 'fcmovnu', 'ST0,STi'),
  // FENI, FDISI and FSETPM of the 8087 and 80287 do nothing
  row('DB E0', 'fnop'),
  row('DB E1', 'fnop'),
  row('DB E2', 'fnclex'),
  row('DB E3', 'fninit'),
  row('DB E4', 'fnop'),
  row('DB E8+i', 'fucomi', 'ST0,STi'),
  row('DB F0+i', 'fcomi', 'ST0,STi'),
  row('DD /0', 'fld', 'Mq'),
  row('DD /1', 'fisttp', 'Mq', 'sse3'),
  row('DD /2', 'fst', 'Mq'),
  row('DD /3', 'fstp', 'Mq'),
  row('DD /4', 'frstor', 'M', 'v sys'),
  row('DD /6', 'fnsave', 'M', 'v sys'),
  row('DD /7', 'fnstsw', 'Mw'),
  row('DD C0+i', 'ffree', 'STi'),
  row('DD C8+i', 'fxch', 'ST0,STi'),
  row('DD D0+i', 'fst', 'STi'),
  row('DD D8+i', 'fstp', 'STi'),
  row('DD E0+i', 'fucom', 'ST0,STi'),
  row('DD E8+i', 'fucomp', 'ST0,STi'),
  row('DE D0+i', 'fcomp', 'ST0,STi'),
  row('DE D9', 'fcompp'),
  row('DF /0', 'fild', 'Mw'),
  row('DF /1', 'fisttp', 'Mw', 'sse3'),
  row('DF /2', 'fist', 'Mw'),
  row('DF /3', 'fistp', 'Mw'),
  row('DF /4', 'fbld', 'Mt'),
  row('DF /5', 'fild', 'Mq'),
  row('DF /6', 'fbstp', 'Mt'),
  row('DF /7', 'fistp', 'Mq'),
  row('DF C0+i', 'ffreep', 'STi'),
  row('DF C8+i', 'fxch', 'ST0,STi'),
  row('DF D0+i', 'fstp', 'STi'),
  row('DF D8+i', 'fstp', 'STi'),
  row('DF E0', 'fnstsw', 'AX'),
  row('DF E8+i', 'fucomip', 'ST0,STi'),
  row('DF F0+i', 'fcomip', 'ST0,STi'),
];

/**
 * All of them execute in TypeScript (src/x86/system/x87): kernels use little more than FNINIT. Those that say so themselves store
 * or load a state image.
 */
export const X87: readonly Row[] = having('fpu', ROWS).map((x) => ({
  ...x,
  flags: x.flags.includes('sys') ? x.flags : [...x.flags, 'sys', 'quiet'],
}));
