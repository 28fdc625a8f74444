/**
 * The addresses of kallsyms in each of the three ways in which Linux writes them (kallsyms-formats.ts). All are sorted, which is
 * what proves that a table is one.
 */
import type { VirtAddr } from '../core/units.ts';
import type { Format } from './kallsyms-formats.ts';
import { alignUp, type SearchedImage } from './kallsyms-image.ts';

/** The address at which the byte at `offset` of an image is mapped, null when it is not or nobody knows. */
export type AddressOf = (offset: number) => VirtAddr | null;

const KERNEL_HALF = 1n << 63n;

/**
 * The addresses of `count` symbols; null when there is no table that fits the format. `front` is where the number of symbols stands,
 * `behind` is where the index of the tokens ends, both in bytes from the start of the image.
 */
export function readAddresses(
  image: SearchedImage,
  format: Format,
  { front, behind, count }: { readonly front: number; readonly behind: number; readonly count: number },
  addressOf: AddressOf,
): BigUint64Array | null {
  if (format.addresses === 'whole') return whole(image, front - 8 * count, count);
  if (format.addresses === 'place') return toPlace(image, behind, count, addressOf(behind));
  const size = alignUp(4 * count, format.align);
  const at = format.addressesAt === 'behind' ? behind : front - 8 - size;
  return toBase(image, at, at + size, count);
}

function whole(image: SearchedImage, start: number, count: number): BigUint64Array | null {
  if (!image.has(start, 8 * count)) return null;
  const addresses = new BigUint64Array(count);
  let previous = 0n;
  for (let i = 0; i < count; i++) {
    const address = image.u64(start + 8 * i);
    if (address < previous) return null;
    previous = address;
    addresses[i] = address;
  }
  return previous >= KERNEL_HALF ? addresses : null;
}

/** Addresses by their distance from an anchor, as they are added, by their halves: so many BigInts take their time. */
class RisingAddresses {
  readonly addresses: BigUint64Array;
  readonly #halves: Uint32Array;
  readonly #low: number;
  readonly #high: number;
  #count = 0;
  #previous = Number.NEGATIVE_INFINITY;

  constructor(count: number, anchor: VirtAddr) {
    this.addresses = new BigUint64Array(count);
    this.#halves = new Uint32Array(this.addresses.buffer);
    this.#low = Number(anchor & 0xffff_ffffn);
    this.#high = Number(anchor >> 32n);
  }
  /** Adds the address `distance` bytes above the anchor; false when it is below the one before. */
  add(distance: number): boolean {
    const low = this.#low + distance;
    return this.#put(distance, low, this.#high + Math.floor(low / 2 ** 32));
  }
  /** Adds an address below 2^31; all of these come before the others. */
  addValue(value: number): boolean {
    return this.#put(value - 2 ** 32, value, 0);
  }
  #put(order: number, low: number, high: number): boolean {
    if (order < this.#previous) return false;
    this.#previous = order;
    this.#halves[2 * this.#count] = low;
    this.#halves[2 * this.#count + 1] = high;
    this.#count++;
    return true;
  }
}

function toBase(image: SearchedImage, start: number, baseAt: number, count: number): BigUint64Array | null {
  const base = image.u64(baseAt);
  if (!image.has(start, 4 * count) || base < KERNEL_HALF) return null;
  let perCpu = false;
  for (let i = 0; i < count && !perCpu; i++) perCpu = image.s32(start + 4 * i) < 0;
  const rising = new RisingAddresses(count, base);
  for (let at = start; at < start + 4 * count; at += 4) {
    const offset = image.s32(at);
    const fits = !perCpu ? rising.add(image.u32(at)) : offset < 0 ? rising.add(-1 - offset) : rising.addValue(offset);
    if (!fits) return null;
  }
  return rising.addresses;
}

function toPlace(image: SearchedImage, start: number, count: number, place: VirtAddr | null): BigUint64Array | null {
  if (place === null || place < KERNEL_HALF || !image.has(start, 4 * count)) return null;
  const rising = new RisingAddresses(count, place);
  for (let i = 0; i < count; i++) if (!rising.add(4 * i + image.s32(start + 4 * i))) return null;
  return rising.addresses;
}
