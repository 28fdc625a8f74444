/**
 * The hash of guest memory: the sum modulo 2^128 of H(frame, page) over all pages, kept up to date from dirty pages.
 *
 * H runs four lanes of 64 bits over the page, two multiplications a word; every step is a bijection of the lane for a
 * given word and of the word for a given lane, and the two halves of the result are bijections of each lane, so that a
 * change within one lane's word always changes H. It is no defence against somebody who wants a collision.
 */
import { PAGE_SIZE } from '../core/units.ts';
import { FRAME, type GuestMemory } from '../memory/guest-memory.ts';
import { FunctionBody } from './wasm/encoder.ts';
import { ModuleBuilder } from './wasm/module.ts';

// odd constants without structure: digits of the fractional parts of square roots of primes
const SEED = [0x6a09e667f3bcc909n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n] as const;
const WORD = 0x510e527fade682d1n;
const LANE = 0x9b05688c2b3e6c1fn;
const FRAME_FACTOR = 0x1f83d9abfb41bd6bn;
const LOW = [0x5be0cd19137e2179n, 0xcbbb9d5dc1059ed9n, 0x629a292a367cd507n, 0x9159015a3070dd17n] as const;
const HIGH = [0x152fecd8f70e5939n, 0x67332667ffc00b31n, 0x8eb44a8768581511n, 0xdb0c2e0d64f98fa7n] as const;
const FINISH = [0x47b5481dbefa4fa5n, 0xae5f9156e7b6d99bn] as const;
const UNROLL = 4;

/**
 * Adds the function that takes the slot's page out of the total as it was last hashed and puts it in as it is: `update`, or
 * `updateZero` for a page of zeros, which is not read (a page that nothing has touched would cost the host a fault).
 */
function addUpdate(module: ModuleBuilder, memory: GuestMemory, low: number, high: number, zero: boolean): void {
  const { map } = memory;
  const f = new FunctionBody({ params: ['i32'], results: [] });
  const SLOT = 0;
  const at = f.local('i32');
  const end = f.local('i32');
  const entry = f.local('i32');
  const frame = f.local('i64');
  const word = f.local('i64');
  const old = f.local('i64');
  const lanes = SEED.map(() => f.local('i64'));
  f.get(SLOT).i32(PAGE_SIZE).op('i32.mul').i32(map.ram).op('i32.add').tee(at);
  f.i32(PAGE_SIZE).op('i32.add').set(end);
  f.get(SLOT).i32(4).op('i32.shl').i32(map.slotHashes).op('i32.add').set(entry);
  f.get(SLOT).i32(2).op('i32.shl').memory('i64.load32_u', map.slotFrames).i64(FRAME_FACTOR).op('i64.mul').set(frame);
  for (const [i, lane] of lanes.entries()) f.get(frame).i64(SEED[i]!).op('i64.xor').set(lane);
  f.loop();
  for (let i = 0; i < UNROLL * 4; i++) {
    const lane = lanes[i % 4]!;
    if (zero) f.get(lane);
    else {
      f.get(at)
        .memory('i64.load', i * 8)
        .i64(WORD)
        .op('i64.mul')
        .tee(word);
      f.get(word).i64(32n).op('i64.shr_u').op('i64.xor').get(lane).op('i64.xor');
    }
    f.i64(LANE).op('i64.mul').i64(31n).op('i64.rotl').set(lane);
  }
  f.get(at)
    .i32(UNROLL * 32)
    .op('i32.add')
    .tee(at)
    .get(end)
    .op('i32.ne')
    .brIf(0)
    .end();
  const half = (weights: readonly bigint[], finish: bigint): void => {
    for (const [i, lane] of lanes.entries()) {
      f.get(lane).i64(weights[i]!).op('i64.mul');
      if (i > 0) f.op('i64.add');
    }
    f.tee(word).get(word).i64(29n).op('i64.shr_u').op('i64.xor').i64(finish).op('i64.mul');
    f.tee(word).get(word).i64(32n).op('i64.shr_u').op('i64.xor').set(word);
  };
  // 128-bit total: subtract the old hash, add the new one
  const hash = f.local('i64');
  half(LOW, FINISH[0]);
  f.get(word).set(hash);
  half(HIGH, FINISH[1]);
  f.get(entry).memory('i64.load', 0).set(old);
  f.globalGet(high).get(entry).memory('i64.load', 8).op('i64.sub');
  f.globalGet(low).get(old).op('i64.lt_u').op('i64.extend_i32_u').op('i64.sub').globalSet(high);
  f.globalGet(low).get(old).op('i64.sub').get(hash).op('i64.add').globalSet(low);
  f.globalGet(high).get(word).op('i64.add');
  f.globalGet(low).get(hash).op('i64.lt_u').op('i64.extend_i32_u').op('i64.add').globalSet(high);
  f.get(entry).get(hash).memory('i64.store', 0);
  f.get(entry).get(word).memory('i64.store', 8);
  module.add(f, zero ? 'updateZero' : 'update');
}

/** The hash of a machine's memory. */
export class MemoryHash {
  readonly #memory: GuestMemory;
  readonly #update: (slot: number) => void;
  readonly #low: WebAssembly.Global;
  readonly #high: WebAssembly.Global;

  /** Of memory in which no page has been marked clean yet: pages that are not dirty are zero. */
  constructor(memory: GuestMemory) {
    this.#memory = memory;
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', memory.memory.buffer.byteLength / 65536);
    const low = module.global64();
    const high = module.global64();
    module.exportGlobal('low', low);
    module.exportGlobal('high', high);
    addUpdate(module, memory, low, high, false);
    addUpdate(module, memory, low, high, true);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), { e: { m: memory.memory } });
    const exports = instance.exports as Record<string, unknown>;
    this.#update = exports.update as (slot: number) => void;
    this.#low = exports.low as WebAssembly.Global;
    this.#high = exports.high as WebAssembly.Global;
    const updateZero = exports.updateZero as (slot: number) => void;
    for (let slot = 0; slot < memory.slotCount; slot++)
      if (memory.slotFlags[slot]! & FRAME.dirty) this.#update(slot);
      else updateZero(slot);
  }

  /** Brings the hashes of these slots up to date. */
  update(slots: Int32Array | readonly number[]): void {
    // not a loop of its own, which V8 would compile while it runs, for longer than that takes
    slots.forEach((slot) => {
      this.#update(slot);
    });
  }
  /** Hashes every page anew. */
  rebuild(): void {
    const { bytes, map, slotCount } = this.#memory;
    bytes.fill(0, map.slotHashes, map.slotHashes + map.shape.slots * 16);
    this.#low.value = 0n;
    this.#high.value = 0n;
    for (let slot = 0; slot < slotCount; slot++) this.#update(slot);
  }
  /** H(frame, page) of a slot as of its last update. */
  pageHash(slot: number): bigint {
    const at = this.#memory.map.slotHashes + slot * 16;
    const { view } = this.#memory;
    return view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
  }
  /** The sum modulo 2^128 over all slots as of their last updates. */
  get total(): bigint {
    const low = BigInt.asUintN(64, this.#low.value as bigint);
    return low | (BigInt.asUintN(64, this.#high.value as bigint) << 64n);
  }
}
