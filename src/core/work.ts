/**
 * The unit of counted work, which bounds the host's time of a step: an entry, or 64 bytes copied. Counts follow from the state, so that
 * they are the same on every host.
 */
const BYTES_PER_UNIT = 64;

/** The units of `count` bytes. */
export const unitsOf = (count: number): number => Math.ceil(count / BYTES_PER_UNIT);
