/**
 * Writes one block's events as Wasm. Pure values are computed where they are first needed on the main path; what only
 * an exit needs is computed on that exit.
 *
 * Invariants: `remaining` counts the uses of a value that are still to come, those on exits included; a home local whose value
 * still has uses is copied before it is overwritten.
 */
import { assert } from '../../core/assert.ts';
import type { Width } from '../../ir/program.ts';
import { ACCESS_SPEC, SPAN_SPEC } from '../../memory/mmu.ts';
import { STATE, VECTOR } from '../../x86/state.ts';
import { EXIT } from '../cold/exits.ts';
import type { TypeName } from '../wasm/encoder.ts';
import { LOADS, STORES, STORES_32 } from '../wasm/widths.ts';
import {
  type AccessEvent,
  type Block,
  type Event,
  FLAG_HOMES,
  type FlagState,
  HOME,
  homeType,
  isFlagHome,
} from './block.ts';
import { type Frame, PARAM } from './frame.ts';
import type { Item } from './graph.ts';
import { type Look, lookUp, lookUpConstant } from './look.ts';
import { findSpans, NO_BASE, type Place, placeOf, type Span } from './spans.ts';

/** Where a block's control flow goes; implemented by the region. */
export interface Successors {
  /** Goes on at a place in (or, where it lies outside 0 to 4095, relative to) the page. */
  goto(place: bigint): void;
  /** Goes on at the rip in `Frame.rip`. */
  dispatch(): void;
}

export class BlockEmitter {
  readonly #f: Frame;
  readonly #block: Block;
  readonly #items: readonly Item[];
  readonly #remaining: Int32Array;
  readonly #locations: Int32Array;
  readonly #temporary: Uint8Array;
  /** Value in each home local, -1: not known to the graph. */
  readonly #resident: number[] = new Array<number>(HOME.count).fill(-1);
  readonly #spanBytes: number;
  readonly #spans: ReadonlyMap<AccessEvent, Span>;
  /** Local with the host address of a span's lowest byte. */
  readonly #found = new Map<Span, number>();
  /** What is to be added to the host address that stands for a value. */
  readonly #offsets = new Map<number, number>();
  /** The flags must be in their homes at the end: what follows reads them. */
  flagsWanted = false;
  /** It may be entered with flags that wait, which it or what follows reads. */
  settlesFlags = false;
  /** Values computed on the exit that is being written. */
  #cold: Map<number, number> | null = null;

  /** `spanBytes`: accesses may share a look into the TLB for so many bytes. */
  constructor(frame: Frame, block: Block, spanBytes: number) {
    this.#f = frame;
    this.#spanBytes = spanBytes;
    this.#block = block;
    this.#items = block.graph.items;
    this.#remaining = new Int32Array(this.#items.length);
    this.#locations = new Int32Array(this.#items.length).fill(-1);
    this.#temporary = new Uint8Array(this.#items.length);
    this.#spans = spanBytes > 0 ? findSpans(this.#items, block.events, spanBytes) : new Map();
    this.#count();
    for (const [id, item] of this.#items.entries()) {
      if (item.kind !== 'home') continue;
      const home = Number(item.value);
      const isFlags = isFlagHome(home);
      if (!isFlags || this.#remaining[id]! > 0) this.#resident[home] = id;
      if (!isFlags && this.#remaining[id]! > 0) this.#locations[id] = frame.home(home);
    }
  }

  // ---- uses ---------------------------------------------------------------------------------------------------------

  #need(id: number): void {
    if (this.#remaining[id]!++ > 0) return;
    const { a, b, c } = this.#items[id]!;
    if (a >= 0) this.#need(a);
    if (b >= 0) this.#need(b);
    if (c >= 0) this.#need(c);
  }
  /** The flags are as the block found them: nothing is to be done for them. */
  #isInherited({ result, aux }: FlagState): boolean {
    const { graph } = this.#block;
    return graph.isHome(result, HOME.flagsResult) && graph.isHome(aux, HOME.flagsAux);
  }
  /** The block reads flags that it has not made. */
  get readsFlags(): boolean {
    return this.#resident[HOME.flagsResult]! >= 0 || this.#resident[HOME.flagsAux]! >= 0;
  }
  /** The flags that the block found may be those it leaves. */
  get passesFlags(): boolean {
    return this.#isInherited(this.#block.flags) || this.#block.events[0]?.kind === 'complete';
  }
  #needFlags(flags: FlagState): void {
    if (this.#isInherited(flags)) return;
    this.#need(flags.result);
    this.#need(flags.aux);
  }
  #isDead(event: Event): boolean {
    return (event.kind === 'peek' || event.kind === 'read' || event.kind === 'call') && this.#remaining[event.id] === 0;
  }
  #count(): void {
    const { ending, events } = this.#block;
    if (ending.kind === 'jump') this.#need(ending.rip);
    if (ending.kind === 'branch' || ending.kind === 'repeat') this.#need(ending.cond);
    this.#needFlags(this.#block.flags);
    for (let i = events.length - 1; i >= 0; i--) {
      const event = events[i]!;
      if (this.#isDead(event)) continue;
      switch (event.kind) {
        case 'load':
        case 'probe': {
          const span = this.#spans.get(event);
          if (span === undefined || event.align) this.#need(event.address);
          if (span !== undefined) {
            const { index } = this.#placeOf(event);
            if (index >= 0) this.#need(index);
          }
          if (span?.first === event && span.base !== NO_BASE) this.#need(span.base);
          if (span === undefined || event.align || span.first === event) this.#needFlags(event.flags);
          break;
        }
        case 'peek':
          this.#need(event.token);
          break;
        case 'raise':
          this.#need(event.cond);
          this.#needFlags(event.flags);
          break;
        case 'call':
          for (const arg of event.args) this.#need(arg);
          if (event.shortcut === null) break;
          this.#need(event.shortcut.when);
          this.#need(event.shortcut.value);
          break;
        case 'store':
          this.#need(event.token);
          this.#need(event.value);
          break;
        case 'write':
        case 'home':
          this.#need(event.value);
          break;
        case 'complete':
          this.#need(event.cond);
          break;
        case 'read':
          break;
      }
    }
  }
  /** One use of a value is over. */
  #consume(id: number): void {
    if (this.#cold) return;
    if (--this.#remaining[id]! > 0) return;
    if (this.#locations[id]! >= 0) {
      if (this.#temporary[id]) this.#f.release(this.#locations[id]!);
      this.#temporary[id] = 0;
      return;
    }
    // never computed: what it would have used is free
    const { a, b, c } = this.#items[id]!;
    if (a >= 0) this.#consume(a);
    if (b >= 0) this.#consume(b);
    if (c >= 0) this.#consume(c);
  }

  // ---- values -------------------------------------------------------------------------------------------------------

  /** Pushes a value; one use of it. */
  #value(id: number): void {
    const f = this.#f;
    const item = this.#items[id]!;
    const known = this.#locations[id]! >= 0 ? this.#locations[id]! : this.#cold?.get(id);
    if (item.kind === 'const') this.#constant(item);
    else if (known !== undefined) {
      f.get(known);
      this.#consume(id);
    } else {
      this.#compute(item);
      if (this.#cold) {
        const local = f.local(item.type);
        f.tee(local);
        this.#cold.set(id, local);
      } else if (--this.#remaining[id]! > 0) {
        this.#place(id, f.local(item.type));
        f.tee(this.#locations[id]!);
      }
    }
  }
  #place(id: number, local: number): void {
    this.#locations[id] = local;
    this.#temporary[id] = 1;
  }
  /** Makes sure that a value is in a local; its use is still to be consumed. */
  #hold(id: number): number {
    if (this.#locations[id]! >= 0) return this.#locations[id]!;
    const item = this.#items[id]!;
    if (item.kind === 'const') this.#constant(item);
    else this.#compute(item);
    const local = this.#f.local(item.type);
    this.#f.set(local);
    this.#place(id, local);
    return local;
  }
  #constant(item: Item): void {
    if (item.type === 'i32') this.#f.i32(Number(BigInt.asIntN(32, item.value)));
    else if (item.type === 'i64') this.#f.i64(item.value);
    else this.#f.v128(item.value);
  }
  #compute(item: Item): void {
    const f = this.#f;
    if (item.a >= 0) this.#value(item.a);
    if (item.b >= 0) this.#value(item.b);
    if (item.c >= 0) this.#value(item.c);
    switch (item.kind) {
      case 'op':
        f.op(item.name);
        return;
      case 'select':
        f.select(item.type);
        return;
      case 'extract':
        f.extract(item.name as 'i64x2', Number(item.value));
        return;
      case 'replace':
        f.replace(item.name as 'i64x2', Number(item.value));
        return;
      case 'shuffle':
        f.shuffle(item.lanes!);
        return;
      case 'segment':
        f.get(PARAM.cpu).memory('i64.load', Number(item.value));
        return;
      default:
        assert(false, `a ${item.kind} has a place before it is used`);
    }
  }
  /** Takes the value on the stack as the result of an event. */
  #result(id: number, type: TypeName): void {
    const local = this.#f.local(type);
    this.#f.set(local);
    this.#place(id, local);
  }

  #setHome(home: number, id: number): void {
    const f = this.#f;
    const local = f.home(home);
    f.dirty[home] = true;
    if (this.#resident[home] === id) {
      this.#consume(id);
      return;
    }
    const item = this.#items[id]!;
    if (item.kind === 'const' || this.#locations[id]! >= 0) this.#value(id);
    else {
      this.#compute(item);
      this.#remaining[id]!--;
    }
    const old = this.#resident[home]!;
    if (old >= 0 && old !== id && this.#remaining[old]! > 0 && this.#locations[old] === local) {
      const other = this.#resident.findIndex((x, i) => x === old && i !== home);
      if (other >= 0) this.#locations[old] = f.home(other);
      else {
        const copy = f.local(this.#items[old]!.type);
        f.get(local).set(copy);
        this.#place(old, copy);
      }
    }
    f.set(local);
    this.#resident[home] = id;
    if (item.kind !== 'const' && this.#remaining[id]! > 0 && this.#locations[id]! < 0) this.#locations[id] = local;
  }

  // ---- leaving ------------------------------------------------------------------------------------------------------

  /** Writes code that only an exit runs: nothing it computes is there for the main path. */
  #aside(flags: FlagState, write: () => void): void {
    const f = this.#f;
    this.#cold = new Map();
    const waits = this.#isInherited(flags) || this.#wait(flags, true);
    if (!waits) this.#settle(flags);
    write();
    for (const local of this.#cold.values()) f.release(local);
    this.#cold = null;
    if (this.#isInherited(flags)) return;
    this.#consume(flags.result);
    this.#consume(flags.aux);
  }
  /** Leaves the flags to a recipe; false when none will do. */
  #wait(flags: FlagState, aside: boolean): boolean {
    const f = this.#f;
    const isOperand = (id: number): boolean => this.#locations[id]! >= 0 || this.#cold?.has(id) === true;
    const cooking = f.callees.recipes.find(this.#items, flags.result, flags.aux, isOperand);
    if (cooking === null) return false;
    f.wait(cooking, (id) => {
      f.get(this.#locations[id]! >= 0 ? this.#locations[id]! : this.#cold!.get(id)!);
      if (this.#items[id]!.type === 'i32') f.op('i64.extend_i32_u');
    });
    if (!aside) {
      this.#consume(flags.result);
      this.#consume(flags.aux);
    }
    return true;
  }
  /** Loads the flags that the block found. */
  #loadFlags(): void {
    for (const home of FLAG_HOMES) {
      const id = this.#resident[home]!;
      if (id < 0) continue;
      this.#f.loadHome(home);
      this.#result(id, homeType(home));
    }
  }
  /** Puts the flags into their homes. */
  #settle(flags: FlagState): void {
    const f = this.#f;
    for (const [i, id] of [flags.result, flags.aux].entries()) {
      const home = FLAG_HOMES[i]!;
      if (this.#resident[home] === id) this.#consume(id);
      else f.storeHome(home, () => this.#value(id));
      if (!this.#cold) this.#resident[home] = id;
    }
    f.i32(0).set(f.recipe);
  }
  /** Leaves with the fault that waits in the state. */
  #leaveFaulting(event: { insn: number; flags: FlagState }, last: boolean): void {
    const { steps } = this.#block;
    const write = (): void =>
      this.#f.stop(steps[event.insn]!.insn.pageOffset, steps.length - event.insn, EXIT.hotFault);
    if (last) this.#aside(event.flags, write);
    else {
      // a second exit of one event: its flags are used once
      if (!this.#isInherited(event.flags)) {
        this.#remaining[event.flags.result]!++;
        this.#remaining[event.flags.aux]!++;
      }
      this.#aside(event.flags, write);
    }
  }
  #raise(vector: number, error: number): void {
    const f = this.#f;
    f.get(PARAM.cpu).i32(vector).memory('i32.store', STATE.faultVector.offset);
    f.get(PARAM.cpu).i32(error).memory('i32.store', STATE.faultError.offset);
    f.get(PARAM.cpu).i64(0n).memory('i64.store', STATE.faultAddress.offset);
  }

  // ---- events -------------------------------------------------------------------------------------------------------

  /** Raises #GP for an address that is no multiple of `bytes`. `last`: the event has no other exit. */
  #checkAlignment(event: AccessEvent, last: boolean): void {
    const f = this.#f;
    f.get(this.#hold(event.address))
      .op('i32.wrap_i64')
      .i32(event.bytes - 1)
      .op('i32.and')
      .seldom()
      .if();
    this.#raise(VECTOR.gp, 0);
    this.#leaveFaulting(event, last);
    f.end();
  }
  /** Leaves the host address of an access that stands for itself in a local and returns that. */
  #access(event: AccessEvent): number {
    const { slowLoad, slowProbe } = this.#f.callees;
    const { bytes } = event;
    if (event.align) this.#checkAlignment(event, false);
    const write = event.kind === 'probe';
    const spec = bytes | ACCESS_SPEC.region | (event.segment << ACCESS_SPEC.segmentShift);
    const look: Look = { bytes, write, slow: write ? slowProbe : slowLoad, spec };
    const host = lookUp(this.#f, this.#hold(event.address), look, () => this.#leaveFaulting(event, true));
    this.#consume(event.address);
    return host;
  }
  #placeOf(event: AccessEvent): Place {
    return placeOf(this.#items, event, this.#spanBytes);
  }
  /** Like {@link #access} for one of a span; `offset` is to be added, and the local is the access's own where it has an index. */
  #accessInSpan(event: AccessEvent, span: Span): { host: number; offset: number; own: boolean } {
    const f = this.#f;
    if (event.align) {
      this.#checkAlignment(event, span.first !== event);
      this.#consume(event.address);
    }
    if (span.first === event) this.#found.set(span, this.#lookForAll(span));
    const { index, distance } = this.#placeOf(event);
    const offset = Number(distance - span.low);
    const found = this.#found.get(span)!;
    if (index < 0) return { host: found, offset, own: false };
    const host = f.local('i32');
    this.#value(index);
    f.op('i32.wrap_i64').get(found).op('i32.add').set(host);
    return { host, offset, own: true };
  }
  /** Looks for the bytes of a span; leaves the host address of the lowest in a local and returns that. */
  #lookForAll({ base, first, bytes, write, low }: Span): number {
    const f = this.#f;
    const look: Look = { bytes, write, slow: f.callees.slowSpan, spec: bytes | (write ? SPAN_SPEC.write : 0) };
    const leave = (): void => this.#leaveFaulting(first, true);
    if (base === NO_BASE) return lookUpConstant(f, low, look, leave);
    let address = this.#hold(base);
    if (low !== 0n) {
      const lowest = f.local('i64');
      f.get(address).i64(low).op('i64.add').set(lowest);
      address = lowest;
    }
    const host = lookUp(f, address, look, leave);
    if (low !== 0n) f.release(address);
    this.#consume(base);
    return host;
  }
  #read(id: number, offset: number, width: Width, type: TypeName): void {
    const f = this.#f;
    if (width === 16) f.loadV128(offset);
    else if (type === 'i32') f.memory('i32.load', offset);
    else f.memory(LOADS[width], offset);
    this.#result(id, type);
  }
  #store(value: number, width: Width, offset: number): void {
    const f = this.#f;
    if (width === 16) f.storeV128(offset);
    else if (this.#items[value]!.type !== 'i32') f.memory(STORES[width], offset);
    else if (width === 8) f.op('i64.extend_i32_u').memory('i64.store', offset);
    else f.memory(STORES_32[width], offset);
  }
  /** Vectors pass as two i64, low half first. What either arm of a shortcut uses is computed before. */
  #call(event: Event & { kind: 'call' }): void {
    const f = this.#f;
    const { shortcut } = event;
    const { type } = this.#items[event.id]!;
    if (shortcut !== null) {
      for (const id of [...event.args, shortcut.value]) if (this.#items[id]!.kind !== 'const') this.#hold(id);
      this.#value(shortcut.when);
      f.op('i32.eqz').seldom().if(type);
    }
    for (const arg of event.args) {
      const item = this.#items[arg]!;
      if (item.type !== 'v128') this.#value(arg);
      else if (item.kind === 'const') {
        f.i64(BigInt.asUintN(64, item.value)).i64(item.value >> 64n);
      } else {
        const local = this.#hold(arg);
        for (const lane of [0, 1]) f.get(local).extract('i64x2', lane);
        this.#consume(arg);
      }
    }
    f.call(f.callees.helper(event.helper));
    if (type === 'v128') {
      const high = f.local('i64');
      f.set(high).op('i64x2.splat').get(high).replace('i64x2', 1);
      f.release(high);
    }
    if (shortcut !== null) {
      f.else();
      this.#value(shortcut.value);
      f.end();
    }
    this.#result(event.id, type);
  }

  #event(event: Event, successors: Successors): void {
    const f = this.#f;
    if (this.#isDead(event)) return;
    switch (event.kind) {
      case 'load': {
        const span = this.#spans.get(event);
        const { host, offset, own } =
          span === undefined ? { host: this.#access(event), offset: 0, own: true } : this.#accessInSpan(event, span);
        if (this.#remaining[event.id]! > 0) {
          f.get(host);
          this.#read(event.id, offset, event.bytes as Width, this.#items[event.id]!.type);
        }
        if (own) f.release(host);
        return;
      }
      case 'probe': {
        const span = this.#spans.get(event);
        if (span === undefined) this.#place(event.id, this.#access(event));
        else {
          const { host, offset, own } = this.#accessInSpan(event, span);
          if (own) this.#place(event.id, host);
          else this.#locations[event.id] = host;
          this.#offsets.set(event.id, offset);
        }
        return;
      }
      case 'peek': {
        this.#value(event.token);
        const offset = event.offset + (this.#offsets.get(event.token) ?? 0);
        this.#read(event.id, offset, event.width, this.#items[event.id]!.type);
        return;
      }
      case 'read':
        f.get(PARAM.cpu);
        this.#read(event.id, event.offset, event.width, this.#items[event.id]!.type);
        return;
      case 'raise':
        this.#value(event.cond);
        f.seldom().if();
        this.#raise(event.vector, event.error);
        this.#leaveFaulting(event, true);
        f.end();
        return;
      case 'call':
        this.#call(event);
        return;
      case 'store':
        this.#value(event.token);
        this.#value(event.value);
        this.#store(event.value, event.width, event.offset + (this.#offsets.get(event.token) ?? 0));
        return;
      case 'write':
        f.get(PARAM.cpu);
        this.#value(event.value);
        this.#store(event.value, event.width, event.offset);
        return;
      case 'home':
        this.#setHome(event.home, event.value);
        return;
      case 'complete': {
        this.#value(event.cond);
        f.if();
        const { insn } = this.#block.steps[0]!;
        successors.goto(BigInt(insn.pageOffset + insn.length));
        f.end();
      }
    }
  }
  #ending(successors: Successors): void {
    const f = this.#f;
    const { ending } = this.#block;
    switch (ending.kind) {
      case 'next':
        successors.goto(BigInt(ending.next));
        return;
      case 'goto':
        successors.goto(ending.target);
        return;
      case 'jump':
        this.#value(ending.rip);
        f.set(f.rip);
        successors.dispatch();
        return;
      case 'branch':
      case 'repeat':
        this.#value(ending.cond);
        f.if();
        successors.goto(ending.kind === 'branch' ? ending.target : BigInt(ending.self));
        f.end();
        successors.goto(BigInt(ending.next));
    }
  }

  /**
   * Writes the block. Its steps are taken from the budget first, which has them or is asked for `reach` steps (null: it has
   * been). The flags are in their homes at the end, or wait.
   */
  run(successors: Successors, reach: number | null): void {
    const f = this.#f;
    const { steps, events, flags } = this.#block;
    if (this.settlesFlags) f.settle();
    if (reach !== null) {
      f.get(PARAM.budget).i32(reach).op('i32.lt_s').seldom().if();
      f.stop(steps[0]!.insn.pageOffset, 0, EXIT.hotBudget);
      f.end();
    }
    f.get(PARAM.budget).i32(steps.length).op('i32.sub').set(PARAM.budget);
    this.#loadFlags();
    for (const event of events) this.#event(event, successors);
    if (!this.#isInherited(flags) && (this.flagsWanted || !this.#wait(flags, false))) {
      this.#settle(flags);
    }
    this.#ending(successors);
    for (const [id, held] of this.#temporary.entries()) if (held) f.release(this.#locations[id]!);
    for (const host of this.#found.values()) f.release(host);
  }
}
