/**
 * Branded scalar types. A brand costs nothing at run time and keeps a machine frame from being used as an address.
 */

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]?: B };

/** A guest virtual (linear) address, 0..2^64-1. */
export type VirtAddr = Branded<bigint, 'VirtAddr'>;
/** A machine (host-physical as the guest sees it) byte address; exact to 2^53. */
export type PhysAddr = Branded<number, 'PhysAddr'>;
/** A machine frame number: `PhysAddr / 4096`. */
export type MachineFrame = Branded<number, 'MachineFrame'>;
/** A pseudo-physical frame number of a Xen PV domain. */
export type PseudoFrame = Branded<number, 'PseudoFrame'>;
/** A moment of a run: the number of steps the domain has taken; exact to 2^53. */
export type Tick = Branded<number, 'Tick'>;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
export const PAGE_MASK = 4095;

const U64 = (1n << 64n) - 1n;

/** The low 64 bits of `value`. */
export const u64 = (value: bigint): bigint => value & U64;
/** `value` as the field prints addresses: `0x` and lower-case digits without padding. */
export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
/** `value` sign-extended from 48 bits, the form of every canonical address. */
export const canonical = (value: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(48, value));
