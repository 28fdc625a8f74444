/** Wasm's loads and stores by width in bytes. */
import type { MemoryOp } from './opcodes.ts';

/** Zero-extending loads of an i64. */
export const LOADS: Record<1 | 2 | 4 | 8, MemoryOp> = {
  1: 'i64.load8_u',
  2: 'i64.load16_u',
  4: 'i64.load32_u',
  8: 'i64.load',
};
/** Stores of an i64's low bytes. */
export const STORES: Record<1 | 2 | 4 | 8, MemoryOp> = {
  1: 'i64.store8',
  2: 'i64.store16',
  4: 'i64.store32',
  8: 'i64.store',
};
/** Stores of an i32's low bytes. */
export const STORES_32: Record<1 | 2 | 4, MemoryOp> = { 1: 'i32.store8', 2: 'i32.store16', 4: 'i32.store' };
