/**
 * XXH64 with seed 0, the checksum of zstd frames. The bulk works on pairs of 32-bit words, since a BigInt multiplication per
 * 8 bytes would take longer than unpacking; the last few bytes use BigInt.
 *
 * Source: `xxhash_spec.md` of xxHash, section XXH64.
 */

import { u64 } from '../../core/units.ts';

const P1 = 0x9e3779b185ebca87n;
const P2 = 0xc2b2ae3d27d4eb4fn;
const P3 = 0x165667b19e3779f9n;
const P4 = 0x85ebca77c2b2ae63n;
const P5 = 0x27d4eb2f165667c5n;
const [P1_HIGH, P1_LOW] = [0x9e3779b1, 0x85ebca87];
const [P2_HIGH, P2_LOW] = [0xc2b2ae3d, 0x27d4eb4f];

const rotate = (value: bigint, count: bigint): bigint => u64((value << count) | (value >> (64n - count)));
const round = (lane: bigint, input: bigint): bigint => u64(rotate(u64(lane + input * P2), 31n) * P1);

/** The high word of the 64-bit product of two 32-bit words. */
function highProduct(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const cross1 = aLow * bHigh;
  const cross2 = aHigh * bLow;
  const middle = ((aLow * bLow) >>> 16) + (cross1 & 0xffff) + (cross2 & 0xffff);
  return (aHigh * bHigh + (cross1 >>> 16) + (cross2 >>> 16) + (middle >>> 16)) | 0;
}

/** Runs all whole 32-byte stripes; `lanes` holds four 64-bit values, low word first. */
function runStripes(view: DataView, stripes: number, lanes: Int32Array): void {
  for (let at = 0; at < stripes * 32; at += 8) {
    const lane = (at >> 2) & 6;
    const [inLow, inHigh] = [view.getInt32(at, true), view.getInt32(at + 4, true)];
    const addLow = Math.imul(inLow, P2_LOW);
    const addHigh = (highProduct(inLow, P2_LOW) + Math.imul(inHigh, P2_LOW) + Math.imul(inLow, P2_HIGH)) | 0;
    const low = (lanes[lane]! + addLow) | 0;
    const carry = low >>> 0 < addLow >>> 0 ? 1 : 0;
    const high = (lanes[lane + 1]! + addHigh + carry) | 0;
    // Rotated left by 31, which is right by 33.
    const turnedLow = (low << 31) | (high >>> 1);
    const turnedHigh = (high << 31) | (low >>> 1);
    lanes[lane] = Math.imul(turnedLow, P1_LOW);
    lanes[lane + 1] = highProduct(turnedLow, P1_LOW) + Math.imul(turnedHigh, P1_LOW) + Math.imul(turnedLow, P1_HIGH);
  }
}

/** The XXH64 of `bytes` with seed 0. */
export function xxh64(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stripes = Math.floor(bytes.length / 32);
  let hash = P5;
  if (stripes > 0) {
    const lanes = new BigUint64Array([u64(P1 + P2), P2, 0n, u64(-P1)]);
    runStripes(view, stripes, new Int32Array(lanes.buffer));
    const [a, b, c, d] = [lanes[0]!, lanes[1]!, lanes[2]!, lanes[3]!];
    hash = u64(rotate(a, 1n) + rotate(b, 7n) + rotate(c, 12n) + rotate(d, 18n));
    for (const lane of [a, b, c, d]) hash = u64((hash ^ round(0n, lane)) * P1 + P4);
  }
  hash = u64(hash + BigInt(bytes.length));
  let at = stripes * 32;
  for (; at + 8 <= bytes.length; at += 8)
    hash = u64(rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * P1 + P4);
  for (; at + 4 <= bytes.length; at += 4)
    hash = u64(rotate(hash ^ u64(BigInt(view.getUint32(at, true)) * P1), 23n) * P2 + P3);
  for (; at < bytes.length; at++) hash = u64(rotate(hash ^ u64(BigInt(bytes[at]!) * P5), 11n) * P1);
  hash = u64((hash ^ (hash >> 33n)) * P2);
  hash = u64((hash ^ (hash >> 29n)) * P3);
  return hash ^ (hash >> 32n);
}
