/** Operand values for property tests: the edges of every width, and a fixed pseudo-random stream. */

export const SIZES = [1, 2, 4, 8] as const;
/** Prefix bytes of an operand size whose opcode is chosen for bytes or not. */
export const PREFIX: Readonly<Record<number, string>> = { 1: '', 2: '66', 4: '', 8: '48' };

/** The top of the state of a 64-bit linear congruential generator (Knuth's MMIX constants). */
function* stream(seed: bigint): Generator<bigint> {
  let state = seed;
  const step = (): bigint => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return state >> 32n;
  };
  for (;;) yield (step() << 32n) | step();
}

/** `count` values of the stream. */
export function random(count: number, seed = 1n): bigint[] {
  const out: bigint[] = [];
  for (const value of stream(seed)) {
    if (out.push(value) === count) break;
  }
  return out;
}

/** 64-bit values around the edges of an operand size. */
export function edges(size: number): bigint[] {
  const top = 1n << BigInt(size * 8 - 1);
  const low = [0n, 1n, 2n, 8n, 15n, 16n, top - 1n, top, top + 1n, 2n * top - 1n];
  // Set bits above the operand must not matter.
  return size === 8 ? low : [...low, ...low.slice(6).map((x) => x | (0xdeadn << 48n))];
}

/** Pairs of edges, and random pairs. */
export function operands(size: number): Array<[bigint, bigint]> {
  const values = edges(size);
  const pairs = values.flatMap((a) => values.map((b): [bigint, bigint] => [a, b]));
  const more = random(40, BigInt(size));
  for (let i = 0; i + 1 < more.length; i += 2) pairs.push([more[i]!, more[i + 1]!]);
  return pairs;
}
