/**
 * Lowers a {@link Program} to the Wasm function of a handler: operands come from the decoded record, guest state stays in
 * linear memory, loads and stores look into the software TLB in line.
 *
 * Values are computed where they are first needed. Whatever has a place in the order of events (loads, probes, peeks,
 * helper calls, faults) is computed there; state reads move down at most to the first commit, as nothing changes before.
 */
import { assert } from '../../core/assert.ts';
import { PAGE_SIZE } from '../../core/units.ts';
import type { Commit, Node, Program, StateRef, Width } from '../../ir/program.ts';
import { operandsOf, valuesOf } from '../../ir/uses.ts';
import { ACCESS_SPEC } from '../../memory/mmu.ts';
import { TLB_ENTRY } from '../../memory/tlb.ts';
import { ATTR, RECORD, RECORD_BYTES } from '../../x86/record.ts';
import { SEG, STATE, VECTOR } from '../../x86/state.ts';
import { pushDataEntry } from '../tlb-entry.ts';
import type { FunctionBody, TypeName } from '../wasm/encoder.ts';
import { LOADS, STORES, STORES_32 } from '../wasm/widths.ts';
import { EXIT } from './exits.ts';
import { jumpTo } from './runtime.ts';

/** How the effective address is formed; chosen from the record when it is decoded. */
export const ADDRESSING = {
  /** 64-bit: base + disp. */
  flat: 0,
  /** 64-bit: base + (index << scale) + disp. */
  indexed: 1,
  /** 64-bit mode with a segment base or 32-bit addresses. */
  general: 2,
  /** Outside 64-bit mode. */
  legacy: 3,
} as const;
export type Addressing = 0 | 1 | 2 | 3;

/** Function indices of what a handler calls. */
interface Callees {
  readonly slowLoad: number;
  readonly slowProbe: number;
  readonly commitScratch: number;
  /** Checks what comes before paging; null where accesses need no checks. */
  readonly checkAccess: number | null;
  /** Leaves the result of a helper on the stack; its arguments are there. */
  helper(name: string): number;
}

const CPU = 0;
const REC = 1;

/** True when the handler depends on how the effective address is formed or on the code mode. */
export function dependsOnAddressing(program: Program): boolean {
  const last = program.commits.at(-1);
  return (
    last?.op === 'jump' ||
    last?.op === 'branch' ||
    program.body.some((node) => node.op === 'offset' || node.op === 'linear')
  );
}

class Lowering {
  readonly #f: FunctionBody;
  readonly #program: Program;
  readonly #addressing: Addressing;
  readonly #callees: Callees;
  readonly #locals: number[] = [];
  readonly #uses: number[];
  readonly #tokens: number[] = [];
  /** True once a store through a probe has been emitted. */
  #stored = false;

  constructor(f: FunctionBody, program: Program, addressing: Addressing, callees: Callees) {
    this.#f = f;
    this.#program = program;
    this.#addressing = addressing;
    this.#callees = callees;
    this.#uses = program.body.map(() => 0);
    // only what is reachable from effects counts
    const reach = (id: number): void => {
      if (this.#uses[id]!++ === 0) for (const operand of operandsOf(program.body[id]!)) reach(operand);
    };
    for (const node of program.body)
      if (['load', 'probe', 'raise', 'complete'].includes(node.op)) for (const id of operandsOf(node)) reach(id);
    for (const commit of program.commits) for (const id of valuesOf(commit)) reach(id);
  }

  // ---- values -------------------------------------------------------------------------------------------------------

  /** Leaves value `id` on the stack. */
  #value(id: number): void {
    const f = this.#f;
    const known = this.#locals[id];
    if (known !== undefined) {
      f.get(known);
      return;
    }
    const node = this.#program.body[id]!;
    this.#compute(node);
    if (this.#uses[id]! > 1 && node.op !== 'const' && node.op !== 'field') {
      this.#locals[id] = f.local(node.type);
      f.tee(this.#locals[id]);
    }
  }
  /** Makes sure that value `id` is in a local, and returns it. */
  #local(id: number): number {
    let local = this.#locals[id];
    if (local === undefined) {
      const node = this.#program.body[id]!;
      this.#compute(node);
      local = this.#f.local(node.type);
      this.#locals[id] = local;
      this.#f.set(local);
    }
    return local;
  }

  #compute(node: Node): void {
    const f = this.#f;
    switch (node.op) {
      case 'const':
        if (node.type === 'i32') f.i32(Number(BigInt.asIntN(32, node.value)));
        else if (node.type === 'i64') f.i64(node.value);
        else f.v128(node.value);
        return;
      case 'unary':
        this.#value(node.a);
        f.op(node.name);
        return;
      case 'binary':
        this.#value(node.a);
        this.#value(node.b);
        f.op(node.name);
        return;
      case 'select':
        this.#value(node.a);
        this.#value(node.b);
        this.#value(node.cond);
        f.select(node.type);
        return;
      case 'extract':
        this.#value(node.a);
        f.extract(node.shape, node.lane);
        return;
      case 'replace':
        this.#value(node.a);
        this.#value(node.b);
        f.replace(node.shape, node.lane);
        return;
      case 'shuffle':
        this.#value(node.a);
        this.#value(node.b);
        f.shuffle(node.lanes);
        return;
      case 'field':
        f.get(REC).memory(node.type === 'i32' ? 'i32.load' : 'i64.load', RECORD[node.name]);
        return;
      case 'get': {
        const offset = this.#state(node.ref);
        if (node.width === 16) f.loadV128(offset);
        else f.memory(node.type === 'i32' ? 'i32.load' : LOADS[node.width], offset);
        return;
      }
      case 'offset':
        this.#effectiveAddress(null);
        return;
      case 'linear':
        this.#effectiveAddress(node.delta);
        if (this.#addressing >= ADDRESSING.general) {
          this.#register('seg');
          f.op('i64.add');
          if (this.#addressing === ADDRESSING.legacy) f.i64(0xffffffffn).op('i64.and');
        }
        return;
      case 'nextRip':
        f.get(CPU).memory('i64.load', STATE.pageBase.offset);
        f.get(REC).memory('i64.load32_u', RECORD.next).op('i64.add');
        if (this.#addressing === ADDRESSING.legacy) f.i64(0xffffffffn).op('i64.and');
        return;
      case 'targetRip':
        this.#targetRip();
        return;
      default:
        assert(false, `${node.op} has its place in the order of events`);
    }
  }
  #targetRip(): void {
    const f = this.#f;
    f.get(CPU).memory('i64.load', STATE.pageBase.offset).get(REC).memory('i64.load', RECORD.imm).op('i64.add');
    if (this.#addressing === ADDRESSING.legacy) f.i64(0xffffffffn).op('i64.and');
  }
  /** Leaves the i32 address of a state reference on the stack and returns the constant offset to add. */
  #state(ref: StateRef): number {
    this.#f.get(CPU);
    if (ref.kind === 'slot') return ref.offset;
    this.#f.get(REC).memory('i32.load', RECORD[ref.field]).op('i32.add');
    return ref.delta;
  }
  /** Leaves the 64-bit state slot named by a record field on the stack. */
  #register(field: 'base' | 'index' | 'seg'): void {
    this.#f.get(CPU).get(REC).memory('i32.load', RECORD[field]).op('i32.add').memory('i64.load', 0);
  }
  #effectiveAddress(delta: number | null): void {
    const f = this.#f;
    this.#register('base');
    if (this.#addressing !== ADDRESSING.flat) {
      this.#register('index');
      f.get(REC).memory('i64.load32_u', RECORD.scale).op('i64.shl').op('i64.add');
    }
    f.get(REC).memory('i64.load', RECORD.disp).op('i64.add');
    if (delta !== null) {
      this.#value(delta);
      f.op('i64.add');
    }
    if (this.#addressing < ADDRESSING.general) return;
    // ATTR address size code 0, 1, 2 -> 64, 32, 16 bits
    f.i64(-1n).i64(0xffffffffn).i64(0xffffn);
    this.#attribute(1);
    f.select('i64');
    this.#attribute(ATTR.addressMask);
    f.op('i32.eqz').select('i64').op('i64.and');
  }
  #attribute(mask: number): void {
    this.#f.get(REC).memory('i32.load', RECORD.attr).i32(mask).op('i32.and');
  }

  // ---- memory and faults --------------------------------------------------------------------------------------------

  #fault(vector: number, error: number): void {
    const f = this.#f;
    f.get(CPU).i32(vector).memory('i32.store', STATE.faultVector.offset);
    f.get(CPU).i32(error).memory('i32.store', STATE.faultError.offset);
    f.get(CPU).i64(0n).memory('i64.store', STATE.faultAddress.offset);
    f.i32(EXIT.fault).return();
  }

  /** Leaves an access's spec on the stack: `bits`, and the segment of the memory operand, or of an implicit access. */
  #spec(addr: number, bits: number, stack: boolean): void {
    const f = this.#f;
    if (this.#program.body[addr]!.op === 'linear') {
      this.#attribute(7 << ATTR.segmentShift);
      f.i32(bits).op('i32.or');
    } else f.i32(bits | ((stack ? SEG.ss : SEG.es) << ACCESS_SPEC.segmentShift));
  }
  /** Leaves with the fault that segment, alignment or breakpoints raise. */
  #check(addr: number, address: number, spec: number, stack: boolean): void {
    const { checkAccess } = this.#callees;
    if (checkAccess === null) return;
    const f = this.#f;
    f.get(CPU).get(address).op('i32.wrap_i64').get(address).i64(32n).op('i64.shr_u').op('i32.wrap_i64');
    this.#spec(addr, spec, stack);
    f.call(checkAccess).op('i32.eqz').seldom().if().i32(EXIT.fault).return().end();
  }
  /** Raises #GP(0) when the instruction runs over the end of the code segment. */
  #checkFetch(): void {
    const f = this.#f;
    this.#ripOf('next');
    f.i64(0xffffffffn).op('i64.and').i64(1n).op('i64.sub');
    this.#beyondCode();
  }
  /** Raises #GP(0) when the offset on the stack lies behind the end of the code segment. */
  #beyondCode(): void {
    const f = this.#f;
    f.get(CPU)
      .memory('i64.load32_u', STATE.segmentLimit.offset + SEG.cs * 4)
      .op('i64.gt_s')
      .if();
    this.#fault(VECTOR.gp, 0);
    f.end();
  }
  /** Raises #GP(0) when the instruction transfers control out of the code segment. */
  #checkTransfer(): void {
    const f = this.#f;
    const last = this.#program.commits.at(-1);
    if (last?.op === 'jump') {
      const rip = this.#local(last.rip);
      const node = this.#program.body[last.rip]!;
      // a conditional branch of 16 bits
      const conditional = node.op === 'select' && this.#program.body[node.b]!.op === 'nextRip';
      if (conditional) f.get(this.#local(node.cond)).if();
      f.get(rip);
      this.#beyondCode();
      if (conditional) f.end();
    } else if (last?.op === 'branch') {
      if (last.cond !== null) f.get(this.#local(last.cond)).if();
      this.#targetRip();
      this.#beyondCode();
      if (last.cond !== null) f.end();
    }
  }

  /** Looks `bytes` bytes up in the TLB, by the tag at `tag`; returns the local with their linear-memory address. */
  #access(addr: number, bytes: number, tag: number, slow: number, align: boolean, stack: boolean): number {
    const f = this.#f;
    const address = this.#local(addr);
    if (align) {
      f.get(address)
        .op('i32.wrap_i64')
        .i32(bytes - 1)
        .op('i32.and')
        .seldom()
        .if();
      this.#fault(VECTOR.gp, 0);
      f.end();
    }
    this.#check(addr, address, bytes | (tag === TLB_ENTRY.write ? ACCESS_SPEC.write : 0), stack);
    const host = f.local('i32');
    const entry = f.local('i32');
    pushDataEntry(f, address);
    f.get(CPU).memory('i32.load', STATE.tlbBase.offset).op('i32.add').tee(entry).memory('i64.load', tag);
    f.get(address);
    if (bytes > 1) f.i64(BigInt(bytes - 1)).op('i64.add');
    f.i64(-4096n).op('i64.and').op('i64.ne').seldom().if('i32');
    f.get(CPU).get(address).op('i32.wrap_i64').get(address).i64(32n).op('i64.shr_u').op('i32.wrap_i64');
    this.#spec(addr, bytes, stack);
    f.call(slow).tee(host).op('i32.eqz').if().i32(EXIT.fault).return().end();
    f.get(host).else();
    f.get(address).op('i32.wrap_i64').get(entry).memory('i32.load', TLB_ENTRY.addend).op('i32.add');
    f.end().set(host);
    f.release(entry);
    return host;
  }

  /** Emits a node that has its place in the order of events. */
  #event(node: Node, id: number): void {
    const f = this.#f;
    switch (node.op) {
      case 'load': {
        const host = this.#access(
          node.addr,
          node.width,
          TLB_ENTRY.read,
          this.#callees.slowLoad,
          node.align,
          node.stack,
        );
        if (this.#uses[id]! > 0) this.#read(id, host, 0, node.width);
        f.release(host);
        return;
      }
      case 'probe': {
        const { slowProbe } = this.#callees;
        const token = this.#access(node.addr, node.bytes, TLB_ENTRY.write, slowProbe, node.align, node.stack);
        this.#locals[id] = token;
        this.#tokens.push(token);
        return;
      }
      case 'peek':
        if (this.#uses[id]! > 0) this.#read(id, this.#locals[node.token]!, node.offset, node.width);
        return;
      case 'raise':
        this.#value(node.cond);
        f.seldom().if();
        this.#fault(node.vector, node.error);
        f.end();
        return;
      case 'complete':
        assert(this.#tokens.length === 0, 'an instruction completes early only before it probes');
        this.#value(node.cond);
        f.if();
        this.#fallThrough();
        f.return().end();
        return;
      case 'call':
        if (this.#uses[id]! === 0) return;
        this.#call(node, id);
        return;
      default:
        return;
    }
  }
  /** Vectors pass as two i64, low half first. What either arm of a shortcut uses is computed before. */
  #call(node: Node & { op: 'call' }, id: number): void {
    const f = this.#f;
    const { shortcut } = node;
    if (shortcut !== null) {
      for (const used of operandsOf(node))
        if (!['const', 'field'].includes(this.#program.body[used]!.op)) this.#local(used);
      this.#value(shortcut.when);
      f.if(node.type);
      this.#value(shortcut.value);
      f.else();
    }
    for (const arg of node.args) {
      if (this.#program.body[arg]!.type !== 'v128') this.#value(arg);
      else this.#halves(arg);
    }
    f.call(this.#callees.helper(node.helper));
    const result = f.local(node.type);
    if (node.type === 'v128') {
      const high = f.local('i64');
      f.set(high).op('i64x2.splat').get(high).replace('i64x2', 1);
      f.release(high);
    }
    if (shortcut !== null) f.end();
    f.set(result);
    this.#locals[id] = result;
  }
  #halves(id: number): void {
    const f = this.#f;
    const node = this.#program.body[id]!;
    for (const lane of [0, 1])
      if (node.op === 'const') f.i64(BigInt.asUintN(64, node.value >> BigInt(64 * lane)));
      else f.get(this.#local(id)).extract('i64x2', lane);
  }
  #read(id: number, host: number, offset: number, width: Width): void {
    const f = this.#f;
    const type: TypeName = width === 16 ? 'v128' : 'i64';
    const local = f.local(type);
    f.get(host);
    if (width === 16) f.loadV128(offset);
    else f.memory(LOADS[width], offset);
    f.set(local);
    this.#locals[id] = local;
  }

  // ---- commits ------------------------------------------------------------------------------------------------------

  /** True when computing `id` now would read state. */
  #readsState(id: number): boolean {
    if (this.#locals[id] !== undefined) return false;
    const node = this.#program.body[id]!;
    if (['get', 'offset', 'linear', 'nextRip', 'targetRip'].includes(node.op)) return true;
    return operandsOf(node).some((x) => this.#readsState(x));
  }

  #fallThrough(): void {
    this.#f.get(REC).i32(RECORD_BYTES).op('i32.add');
  }

  /** Writes back what was stored in the scratch area; then leaves through `rip` when a page-table entry has changed. */
  #commitScratch(rip: () => void): void {
    if (this.#tokens.length === 0) return;
    const f = this.#f;
    for (const [i, token] of this.#tokens.entries()) {
      f.get(token).i32(PAGE_SIZE).op('i32.lt_u');
      if (i > 0) f.op('i32.or');
    }
    f.seldom().if().get(CPU).call(this.#callees.commitScratch).if();
    f.get(CPU);
    rip();
    f.memory('i64.store', STATE.rip.offset);
    // the page of code may begin below the base of CS
    f.get(CPU).memory('i32.load', STATE.codeMode.offset).i32(2).op('i32.ne').if();
    f.get(CPU)
      .i32(0)
      .memory('i32.store', STATE.rip.offset + 4)
      .end();
    f.i32(EXIT.lookup).return();
    f.end().end();
  }
  #ripOf(field: 'next' | 'place'): void {
    const f = this.#f;
    f.get(CPU).memory('i64.load', STATE.pageBase.offset).get(REC);
    if (field === 'next') f.memory('i64.load32_u', RECORD.next);
    else f.memory('i64.load16_u', RECORD.place);
    f.op('i64.add');
  }

  #commit(commit: Commit): void {
    const f = this.#f;
    switch (commit.op) {
      case 'set': {
        const offset = this.#state(commit.ref);
        this.#value(commit.value);
        if (commit.width === 16) f.storeV128(offset);
        else this.#narrowStore(commit.value, commit.width, offset);
        return;
      }
      case 'store':
        f.get(this.#locals[commit.token]!);
        this.#value(commit.value);
        if (commit.width === 16) f.storeV128(commit.offset);
        else this.#narrowStore(commit.value, commit.width, commit.offset);
        this.#stored = true;
        return;
      case 'raiseAfter':
        this.#value(commit.cond);
        f.seldom().if();
        if (this.#stored) f.get(CPU).call(this.#callees.commitScratch).drop();
        this.#fault(commit.vector, commit.error);
        f.end();
        return;
      case 'jump': {
        const rip = this.#local(commit.rip);
        this.#commitScratch(() => f.get(rip));
        jumpTo(f, rip, this.#addressing === ADDRESSING.legacy);
        return;
      }
      case 'branch': {
        const cond = commit.cond === null ? null : this.#local(commit.cond);
        this.#commitScratch(() => {
          this.#targetRip();
          if (cond === null) return;
          this.#ripOf('next');
          f.get(cond).select('i64');
        });
        if (cond !== null) f.get(cond).if();
        const link = f.local('i32');
        f.get(REC).memory('i32.load', RECORD.link).tee(link).op('i32.eqz').seldom().if();
        const target = f.local('i64');
        this.#targetRip();
        f.set(target);
        jumpTo(f, target, this.#addressing === ADDRESSING.legacy);
        f.end().get(link).return();
        if (cond !== null) f.end();
        return;
      }
      case 'repeat': {
        const cond = this.#local(commit.cond);
        this.#commitScratch(() => {
          this.#ripOf('place');
          this.#ripOf('next');
          f.get(cond).select('i64');
        });
        f.get(REC);
        this.#fallThrough();
        f.get(cond).select('i32').return();
        return;
      }
    }
  }
  #narrowStore(value: number, width: Exclude<Width, 16>, offset: number): void {
    const f = this.#f;
    if (this.#program.body[value]!.type !== 'i32') f.memory(STORES[width], offset);
    else if (width === 8) f.op('i64.extend_i32_u').memory('i64.store', offset);
    else f.memory(STORES_32[width], offset);
  }

  run(): void {
    const { body, commits } = this.#program;
    const inSegment = this.#callees.checkAccess !== null && this.#addressing === ADDRESSING.legacy;
    if (inSegment) this.#checkFetch();
    for (const [id, node] of body.entries()) this.#event(node, id);
    if (inSegment) this.#checkTransfer();
    // the first commit may compute its value in place; later ones would see what earlier ones have written
    for (const commit of commits.slice(1)) for (const id of valuesOf(commit)) if (this.#readsState(id)) this.#local(id);
    for (const commit of commits) this.#commit(commit);
    const last = commits.at(-1)?.op;
    if (last === 'jump' || last === 'repeat') this.#f.unreachable();
    else {
      if (last !== 'branch') this.#commitScratch(() => this.#ripOf('next'));
      this.#fallThrough();
    }
  }
}

/** Writes the body of a form's handler: (vCPU state, record) -> next record or exit. */
export function writeHandler(f: FunctionBody, program: Program, addressing: Addressing, callees: Callees): void {
  new Lowering(f, program, addressing, callees).run();
}
