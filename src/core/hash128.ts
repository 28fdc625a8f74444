/**
 * A 128-bit hash of bytes for state sections: four 32-bit lanes, one multiplication and rotation a word, each step a
 * bijection of the lane, so that a change within one lane's word always changes the result. No defence against malice.
 */

const WORD = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const;
const LANE = [0x165667b1, 0xd3a2646d, 0xfd7046c5, 0xb55a4f09] as const;
const START = [0x2545f491, 0x9fb21c65, 0xe6546b64, 0x1b873593] as const;

const finish = (h: number): number => {
  let x = h;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
};

/** Runs the four lanes over whole groups of four words; a function of its own, of which V8 has little to compile. */
function absorb(words: Int32Array, lanes: Int32Array): void {
  let a = lanes[0]!;
  let b = lanes[1]!;
  let c = lanes[2]!;
  let d = lanes[3]!;
  for (let i = 0; i < words.length; i += 4) {
    a = Math.imul(a ^ Math.imul(words[i]!, WORD[0]), LANE[0]);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b ^ Math.imul(words[i + 1]!, WORD[1]), LANE[1]);
    b = (b << 13) | (b >>> 19);
    c = Math.imul(c ^ Math.imul(words[i + 2]!, WORD[2]), LANE[2]);
    c = (c << 13) | (c >>> 19);
    d = Math.imul(d ^ Math.imul(words[i + 3]!, WORD[3]), LANE[3]);
    d = (d << 13) | (d >>> 19);
  }
  lanes[0] = a;
  lanes[1] = b;
  lanes[2] = c;
  lanes[3] = d;
}

/** The hash of `data` under `seed` (a section's number: equal bytes in two sections hash differently). */
export function hash128(data: Uint8Array, seed: number): bigint {
  const whole = data.length >>> 4;
  const aligned = data.byteOffset % 4 === 0 ? data : data.slice();
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, whole * 4);
  const lanes = Int32Array.from(START, (factor) => Math.imul(seed + 1, factor) ^ data.length);
  absorb(words, lanes);
  let [a = 0, b = 0, c = 0, d = 0] = lanes;
  for (let i = whole * 16; i < data.length; i++) {
    a = Math.imul(a ^ Math.imul(data[i]! + 1, WORD[i & 3]!), LANE[0]);
    a = (a << 13) | (a >>> 19);
  }
  // Every lane reaches every word of the result, by bijections of the lane.
  const mix = (w: number, x: number, y: number, z: number): number =>
    finish((Math.imul(w, 5) + Math.imul(x, 9) + Math.imul(y, 17) + Math.imul(z, 33)) | 0);
  const words128 = [mix(a, b, c, d), mix(b, c, d, a), mix(c, d, a, b), mix(d, a, b, c)];
  return words128.reduce((sum, word, i) => sum | (BigInt(word) << BigInt(32 * i)), 0n);
}
