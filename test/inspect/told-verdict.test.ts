import { expect, it } from 'vitest';
import { toldVerdict } from '../../src/inspect/told-verdict.ts';

const HEAD = 'instruction not implemented at 0xffffffff81000000';
const outside = (bytes: string) => ({ kind: 'unimplemented', message: `${HEAD}: ${bytes}` }) as const;

it('names an instruction outside the scope where it has a name', () => {
  const told = (bytes: string): string => toldVerdict(outside(bytes), 0xffffffff81000000n, 64).message;
  expect(told('c5 f8 77 90 90')).toBe(`${HEAD}: vzeroupper`);
  expect(told('66 0f 38 dc c1 90')).toBe(`${HEAD}: aesenc xmm0, xmm1`);
  expect(told('0f ff')).toBe(`${HEAD}: 0f ff`);
  const other = { kind: 'unimplemented', message: 'task gate in the IDT' } as const;
  expect(toldVerdict(other, 0n, 64)).toEqual(other);
});
