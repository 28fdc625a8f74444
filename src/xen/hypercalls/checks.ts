/** Checks that several hypercalls make of their arguments. */

/** Bits 63 to 47 are equal. */
export const canonicalAddress = (address: bigint): boolean => BigInt.asIntN(64, address) === BigInt.asIntN(48, address);
