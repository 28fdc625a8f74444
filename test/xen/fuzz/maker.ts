/** What makes one action: choices from the world as it stands, arguments laid into memory, pointers and frames good and bad. */
import type { Layout } from '../../../src/xen/abi/layout.ts';
import { levelOf, OWNER, PGT } from '../../../src/xen/mm/page-info.ts';
import { le } from '../../support/elf.ts';

import type { Dice } from './dice.ts';
import {
  ARGUMENT_PAGES,
  ARGUMENTS,
  FIRST_UNMAPPED,
  MAPPED_END,
  PLAYGROUND,
  SHARED,
  type Store,
  UNMAPPED,
  type World,
} from './world.ts';

/** A call that can stand by itself or in a multicall. */
export interface Made {
  readonly op: number;
  readonly args: readonly bigint[];
  readonly names: readonly string[];
}

/** Flags of entries that a guest uses, and some that are refused. */
const PTE_FLAGS = [0x67n, 0x67n, 0x67n, 0x65n, 0x65n, 0x65n, 0x63n, 0x61n, 0x07n, 0x05n, 0n, (1n << 63n) | 0x67n];
const BAD_FLAGS = [0x6fn, 0x77n, 0xe7n, 0x167n, (1n << 62n) | 0x67n, (1n << 52n) | 0x65n, 0xfffn];
/** Addresses that are none of the guest's, or not what they seem. */
const BAD_POINTERS = [
  0n,
  1n,
  0x1000n,
  0x7fff_ffff_f000n,
  0x8000_0000_0000n,
  0xffff_7fff_ffff_fff8n,
  0xffff_8000_0000_0000n,
  0xffff_8300_0000_0000n,
  0xffff_8800_0000_0000n,
  MAPPED_END - 4n,
  MAPPED_END,
  (1n << 64n) - 8n,
  (1n << 64n) - 1n,
];

/** Values of a structure's fields by name; they are cut to the room up to the next field. */
export type Values<F extends string> = Partial<Record<F, bigint | number>>;

/** The bytes of a structure. */
export function bytesOf<F extends string>(layout: Layout<F>, values: Values<F>): Uint8Array {
  const bytes = new Uint8Array(layout.bytes);
  const offsets = [...(Object.values(layout.at) as number[]), layout.bytes].sort((a, b) => a - b);
  for (const [name, value] of Object.entries(values) as [F, bigint | number][]) {
    const at = layout.at[name];
    const room = Math.min(8, offsets.find((x) => x > at)! - at);
    bytes.set(le(BigInt.asUintN(8 * room, BigInt(value)), room), at);
  }
  return bytes;
}

export class Maker {
  readonly world: World;
  readonly dice: Dice;
  stores: Store[] = [];
  /** An argument lies where it may not be what was stored. */
  isOdd = false;
  /** Where the next argument goes. */
  #next = 0;

  constructor(world: World, dice: Dice) {
    this.world = world;
    this.dice = dice;
  }
  /** Another action begins. */
  begin(): void {
    this.stores = [];
    this.isOdd = false;
    if (this.#next > (ARGUMENT_PAGES - 2) * 4096) this.#next = 0;
  }

  // ---- arguments ----------------------------------------------------------------------------------------------------

  /** Lays an argument down; its address, now and then an unusual one. */
  put(bytes: Uint8Array): bigint {
    const isOdd = this.dice.chance(2);
    this.isOdd ||= isOdd;
    const at = isOdd ? this.#oddPlace(bytes.length) : ARGUMENTS + BigInt(this.#next);
    this.#next = (this.#next + bytes.length + 15) & ~15;
    if (this.#next > ARGUMENT_PAGES * 4096 - 1024) this.#next = 0;
    this.stores.push({ at, bytes });
    return at;
  }
  /** A page in play, the guest's rings or shared_info, or the end of what is mapped. */
  #oddPlace(length: number): bigint {
    const inside = BigInt(this.dice.below(Math.max(1, 4096 - length)));
    return this.dice.pick([
      () => this.page() + inside,
      () => this.page() + 4092n,
      () => SHARED + inside,
      () => this.ring() + inside,
      () => this.world.guest.startInfo + inside,
      () => MAPPED_END - BigInt(this.dice.below(length + 8)),
    ])();
  }
  /** An argument structure. */
  struct<F extends string>(layout: Layout<F>, values: Values<F>): bigint {
    return this.put(bytesOf(layout, values));
  }
  badPointer(): bigint {
    return this.dice.pick([() => this.dice.pick(BAD_POINTERS), () => this.dice.wide(), () => this.page() + 4092n])();
  }

  // ---- pages and frames -----------------------------------------------------------------------------------------------

  /** Address of a page in play. */
  page(): bigint {
    return this.world.va(this.dice.below(PLAYGROUND));
  }
  /** Where one of the two rings is mapped. */
  ring(): bigint {
    const { console, xenstore } = this.world.guest;
    const { frame } = this.dice.chance(50) ? console.state : xenstore.state;
    return this.world.va(frame - this.world.frame(0));
  }
  /** The frame that a page is mapped to now, by the guest's own tables; null when none. */
  mappedFrame(at: bigint): number | null {
    const { guest } = this.world;
    const pa = guest.xen.mmu.translate(guest.cpu, at);
    return pa === null ? null : Math.floor(pa / 4096);
  }
  /** A frame in play. */
  ownFrame(): number {
    const mapped = this.dice.chance(70);
    return this.world.frame(mapped ? this.dice.below(PLAYGROUND) : FIRST_UNMAPPED + this.dice.below(UNMAPPED));
  }
  /** A frame of any kind, most often one in play. */
  frame(): number {
    const { dice, world } = this;
    const { layout } = world.guest.xen.mm.domain;
    if (dice.chance(80)) return this.ownFrame();
    return dice.pick([
      () => this.table() ?? this.ownFrame(),
      () => this.mappedFrame(this.ring()) ?? 0,
      () => layout.heapBase + dice.below(layout.heapPages),
      () => layout.m2p + dice.below(layout.m2pPages),
      () => dice.below(0x100),
      () => layout.spareBase + dice.below(64),
      () => world.frame(dice.below(layout.pages)),
      () => layout.frameLimit + dice.below(16) - 1,
      () => dice.below(2 ** 30),
    ])();
  }
  /** A frame number as a guest may write it. */
  frameWord(): bigint {
    return this.dice.chance(2) ? this.dice.wide() : BigInt(this.frame());
  }
  /** A page table of the level, or of any; null when there is none. */
  table(level = 0): number | null {
    const { frames, layout } = this.world.guest.xen.mm.domain;
    const found: number[] = [];
    for (let mfn = layout.domainBase; mfn < layout.frameLimit; mfn++) {
      const info = frames.type(mfn);
      const its = levelOf(info);
      if (its !== 0 && (level === 0 || its === level) && (info & PGT.countMask) !== 0) found.push(mfn);
    }
    return found.length === 0 ? null : this.dice.pick(found);
  }
  /** A frame in play of which this is true; null when a few tries find none. */
  find(wanted: (type: number, mfn: number) => boolean): number | null {
    const { frames } = this.world.guest.xen.mm.domain;
    for (let tries = 0; tries < 24; tries++) {
      const mfn = this.ownFrame();
      if (frames.owner(mfn) === OWNER.domain && wanted(frames.type(mfn), mfn)) return mfn;
    }
    return null;
  }
  /** Address of a page in play that the guest can store to; null when a few tries find none. */
  writablePage(): bigint | null {
    const { guest } = this.world;
    for (let tries = 0; tries < 24; tries++) {
      const at = this.page();
      const mfn = this.mappedFrame(at);
      if (mfn === null || mfn < this.world.frame(0)) continue;
      const info = guest.xen.mm.domain.frames.type(mfn);
      if ((info & PGT.typeMask) === PGT.writable && (info & PGT.countMask) === 1) return at;
    }
    return null;
  }
  /** A page-table entry. */
  entry(mfn = this.frame()): bigint {
    const flags = this.dice.chance(3) ? this.dice.pick(BAD_FLAGS) : this.dice.pick(PTE_FLAGS);
    return (BigInt(mfn) << 12n) | flags;
  }
  /** A descriptor: absent, flat data or code, a call gate, or any bits. */
  descriptor(): bigint {
    const { dice } = this;
    return dice.pick([0n, 0xcff3_0000_00ffffn, 0xaffb_0000_00ffffn, 0xcfb3_0000_00ffffn, dice.wide()]);
  }
}
