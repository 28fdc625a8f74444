/** The console's ring page (public/io/console.h): two rings of bytes with free-running 32-bit counts. */

/** Offsets in the page. */
export const RING = { in: 0, out: 0x400, inCons: 0xc00, inProd: 0xc04, outCons: 0xc08, outProd: 0xc0c } as const;
export const IN_BYTES = RING.out - RING.in;
export const OUT_BYTES = RING.inCons - RING.out;
