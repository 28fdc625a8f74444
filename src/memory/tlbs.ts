/**
 * The TLBs of a machine's vCPUs: which of its own a vCPU uses, and how a change of what they were filled from reaches all of them.
 *
 * One vCPU runs at a time. A change is made at once in the TLBs of the vCPU that runs; each other one makes up for what it has
 * missed before its TLBs are used again. So a change costs the same however many vCPUs there are.
 *
 * Invariant: generated code runs, and a TLB is looked into or filled, only after {@link Tlbs.of} has been asked for its vCPU with
 * nobody else's turn in between.
 */
import { type MemoryMap, TLB_BYTES, TLB_WAYS, TLBS } from './layout.ts';
import { Tlb } from './tlb.ts';

/** Bit of {@link VcpuTlbs.control}: EFER.LMA, the vCPU walks four levels. */
const EFER_LMA = 1 << 10;

/** What TLBs lose by a change; what its two operands are. */
const CHANGE = {
  /** Everything. */
  all: 0,
  /** All code translations. */
  code: 1,
  /** All write tags. */
  writes: 2,
  /** The write tags of the page at a linear-memory address. */
  pageWrites: 3,
  /** What came from an entry of a page of tables: its number by eights of bytes, and the page's levels (a bit each). */
  entry: 4,
} as const;

/** Changes that a vCPU can have missed before it drops everything instead. */
const LOG = 16;
/** Words of a change in the log: kind and operands. */
const WORDS = 3;

/** The TLBs of one vCPU: one for each of the page-table roots that it had last in each of its address spaces. */
export class VcpuTlbs {
  /** Address of the vCPU's state. */
  readonly base: number;
  readonly #all: readonly Tlb[];
  /** CR3 of each TLB, -1 where it is empty, and when it was chosen last. */
  readonly #roots = new Float64Array(TLBS).fill(-1);
  readonly #chosen = new Float64Array(TLBS);
  #time = 0;
  /** Control bits that they were filled under. */
  control = 0;
  /** Changes of the machine's that they have followed. */
  seen = 0;
  /** The TLB that was chosen last, and for what. */
  present: Tlb;
  space = 0;
  root = -1;

  constructor(words: Int32Array, base: number, offset: number) {
    this.base = base;
    this.#all = Array.from({ length: TLBS }, (_, i) => new Tlb(words, base + offset + i * TLB_BYTES));
    this.present = this.#all[0]!;
  }

  /** Chooses the TLB for a root in an address space, which takes the place of the one chosen longest ago where there is none. */
  choose(space: 0 | 1, root: number): Tlb {
    const first = space * TLB_WAYS;
    let way = first;
    for (let i = first; i < first + TLB_WAYS; i++) {
      if (this.#roots[i] === root) {
        way = i;
        break;
      }
      if (this.#chosen[i]! < this.#chosen[way]!) way = i;
    }
    this.present = this.#all[way]!;
    if (this.#roots[way] !== root) {
      this.#roots[way] = root;
      this.present.open();
    }
    this.#chosen[way] = ++this.#time;
    this.space = space;
    this.root = root;
    return this.present;
  }
  /** The TLB at an address in linear memory. */
  at(address: number): Tlb {
    return this.#all.find((tlb) => tlb.base === address)!;
  }

  flush(): void {
    for (const tlb of this.#all) tlb.flush();
  }
  /** Drops the translations of the linear page with this number modulo 4096. */
  flushPage(index: number): void {
    this.#drop(index, 1, 4096);
  }
  #drop(first: number, count: number, stride: number): void {
    for (const tlb of this.#all) tlb.drop(first, count, stride);
  }
  #dropEntry(index: number, levels: number): void {
    if ((this.control & EFER_LMA) === 0 || levels > 7) this.flush();
    else {
      if (levels & 2) this.#drop(index, 1, 512);
      if (levels & 4) this.#drop((index & 7) * 512, 512, 4096);
    }
  }
  /** Makes a change, see {@link CHANGE}. */
  apply(kind: number, x: number, y: number): void {
    if (kind === CHANGE.entry) this.#dropEntry(x, y);
    else if (kind === CHANGE.pageWrites) for (const tlb of this.#all) tlb.dropWrites(x >>> 0);
    else if (kind === CHANGE.writes) for (const tlb of this.#all) tlb.dropWrites(null);
    else if (kind === CHANGE.code) for (const tlb of this.#all) tlb.flushCode();
    else this.flush();
  }
  get touched(): number {
    return this.#all.reduce((sum, tlb) => sum + tlb.touched, 0);
  }
}

export class Tlbs {
  readonly #map: MemoryMap;
  readonly #vcpus: readonly VcpuTlbs[];
  #running: VcpuTlbs;
  /** The last changes, by number modulo {@link LOG}. */
  readonly #log = new Int32Array(LOG * WORDS);
  #changes = 0;

  constructor(words: Int32Array, map: MemoryMap) {
    this.#map = map;
    this.#vcpus = Array.from(
      { length: map.shape.vcpus },
      (_, i) => new VcpuTlbs(words, map.vcpuBase + i * map.vcpuStride, map.tlbOffset),
    );
    this.#running = this.#vcpus[0]!;
  }

  /** The TLBs of the vCPU whose state is at `base`, which runs from now on. */
  of(base: number): VcpuTlbs {
    if (this.#running.base !== base) this.#switchTo((base - this.#map.vcpuBase) / this.#map.vcpuStride);
    return this.#running;
  }
  #switchTo(vcpu: number): void {
    this.#running.seen = this.#changes;
    this.#running = this.#vcpus[vcpu]!;
    const { seen } = this.#running;
    if (this.#changes - seen > LOG) this.#running.flush();
    else
      for (let number = seen; number < this.#changes; number++) {
        const at = (number % LOG) * WORDS;
        this.#running.apply(this.#log[at]!, this.#log[at + 1]!, this.#log[at + 2]!);
      }
  }
  #change(kind: number, x = 0, y = 0): void {
    this.#running.apply(kind, x, y);
    if (this.#vcpus.length === 1) return;
    const at = (this.#changes++ % LOG) * WORDS;
    this.#log[at] = kind;
    this.#log[at + 1] = x;
    this.#log[at + 2] = y;
  }

  /** Drops everything. */
  flush(): void {
    this.#change(CHANGE.all);
  }
  /** Drops all code translations. */
  flushCode(): void {
    this.#change(CHANGE.code);
  }
  /** Drops write tags: all, or those of the page at linear-memory address `page`. */
  dropWrites(page: number | null): void {
    if (page === null) this.#change(CHANGE.writes);
    else this.#change(CHANGE.pageWrites, page);
  }
  /** Drops what may have come from entry `index`, counted in eights of bytes, of a page that is a table of these levels (a bit each). */
  dropEntry(index: number, levels: number): void {
    this.#change(CHANGE.entry, index, levels);
  }

  /** Entries that have been looked at to be dropped so far, in all TLBs. */
  get touched(): number {
    return this.#vcpus.reduce((sum, vcpu) => sum + vcpu.touched, 0);
  }
}
