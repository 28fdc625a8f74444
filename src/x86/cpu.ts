/**
 * One vCPU as TypeScript sees it: architectural registers over the state in linear memory, and access to guest memory
 * with the faults that the hardware would raise. System instructions, platforms, debugger and tests use it; the
 * engine's generated code works on the same bytes.
 */
import type { CodeMode } from './form.ts';
import type { Fault } from './seam.ts';
import { ARITHMETIC_FLAGS, AUX, FLAG, GPR, SEG, type SlotName, STATE, STATE_BYTES } from './state.ts';

const EFER_LMA = 1 << 10;

/** Guest memory by linear address, with the privilege of the current CPL. Implemented in src/memory. */
export interface LinearMemory {
  /** Reads `width` (1 to 16) bytes, little-endian, at a linear address; sets accessed bits. */
  load(cpu: Cpu, address: bigint, width: number, options?: AccessOptions): bigint | Fault;
  /** Writes `width` bytes; all pages are checked before anything is written. */
  store(cpu: Cpu, address: bigint, width: number, value: bigint, options?: AccessOptions): null | Fault;
  /** Checks a write of `bytes` bytes without writing, as a store would fault. */
  probe(cpu: Cpu, address: bigint, bytes: number, options?: AccessOptions): null | Fault;
  /** Forgets cached translations: all of them, or those of one page. */
  flush(cpu: Cpu, address?: bigint): void;
}

export interface AccessOptions {
  /** Access with supervisor rights whatever the CPL (descriptor tables, TSS). */
  readonly supervisor?: boolean;
  /** A non-canonical address raises #SS instead of #GP. */
  readonly stack?: boolean;
}

export class Cpu {
  readonly view: DataView;
  /** Address of this vCPU's state in linear memory. */
  readonly base: number;
  readonly id: number;
  readonly memory: LinearMemory;

  constructor(view: DataView, base: number, id: number, memory: LinearMemory) {
    this.view = view;
    this.base = base;
    this.id = id;
    this.memory = memory;
  }

  /** A slot of up to 8 bytes, zero-extended. */
  get(name: SlotName, index = 0): bigint {
    const info = STATE[name];
    const at = this.base + info.offset + index * info.width;
    switch (info.type) {
      case 'u8':
        return BigInt(this.view.getUint8(at));
      case 'u16':
        return BigInt(this.view.getUint16(at, true));
      case 'u32':
        return BigInt(this.view.getUint32(at, true));
      case 'u64':
        return this.view.getBigUint64(at, true);
      case 'u128':
        return this.view.getBigUint64(at, true) | (this.view.getBigUint64(at + 8, true) << 64n);
    }
  }
  /** Writes the low bits of `value` to a slot. */
  set(name: SlotName, value: bigint | number, index = 0): void {
    const info = STATE[name];
    const at = this.base + info.offset + index * info.width;
    const { view } = this;
    if (info.width <= 4) {
      const low = typeof value === 'number' ? value : Number(BigInt.asUintN(32, value));
      if (info.width === 1) view.setUint8(at, low);
      else if (info.width === 2) view.setUint16(at, low, true);
      else view.setUint32(at, low, true);
      return;
    }
    const wide = BigInt(value);
    view.setBigUint64(at, wide, true);
    if (info.width === 16) view.setBigUint64(at + 8, wide >> 64n, true);
  }
  /** A slot of at most 32 bits as a number. */
  num(name: SlotName, index = 0): number {
    const info = STATE[name];
    const at = this.base + info.offset + index * info.width;
    if (info.type === 'u8') return this.view.getUint8(at);
    if (info.type === 'u16') return this.view.getUint16(at, true);
    return this.view.getUint32(at, true);
  }

  gpr(number: number): bigint {
    return this.view.getBigUint64(this.base + STATE.gpr.offset + number * 8, true);
  }
  /** The low 32 bits of a general register, unsigned. */
  gpr32(number: number): number {
    return this.view.getUint32(this.base + STATE.gpr.offset + number * 8, true);
  }
  /** Writes a general register's low 32 bits and clears the others. */
  setGpr32(number: number, value: number): void {
    const at = this.base + STATE.gpr.offset + number * 8;
    this.view.setUint32(at, value, true);
    this.view.setUint32(at + 4, 0, true);
  }
  /** Writes the low `width` (1, 2 or 4) bytes of a general register by the rules of 64-bit mode. */
  setGprLow(number: number, width: number, value: number): void {
    const at = this.base + STATE.gpr.offset + number * 8;
    if (width === 1) this.view.setUint8(at, value);
    else if (width === 2) this.view.setUint16(at, value, true);
    else this.setGpr32(number, value);
  }
  /** Writes a general register with a signed integer below 2^53. */
  setGprSigned(number: number, value: number): void {
    const at = this.base + STATE.gpr.offset + number * 8;
    this.view.setUint32(at, value, true);
    this.view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
  }
  setGpr(number: number, value: bigint): void {
    this.view.setBigUint64(this.base + STATE.gpr.offset + number * 8, value, true);
  }
  /** Copies `rip` to a general register. */
  setGprToRip(number: number): void {
    const { view, base } = this;
    const at = base + STATE.gpr.offset + number * 8;
    view.setInt32(at, view.getInt32(base + STATE.rip.offset, true), true);
    view.setInt32(at + 4, view.getInt32(base + STATE.rip.offset + 4, true), true);
  }
  get rip(): bigint {
    return this.view.getBigUint64(this.base + STATE.rip.offset, true);
  }
  set rip(value: bigint) {
    this.view.setBigUint64(this.base + STATE.rip.offset, value, true);
  }
  /** Moves `rip` on by `bytes`, modulo 2^64, or outside 64-bit mode 2^32. */
  advance(bytes: number, mode: CodeMode): void {
    const at = this.base + STATE.rip.offset;
    const low = this.view.getUint32(at, true) + bytes;
    const high = this.view.getUint32(at + 4, true) + (low > 0xffffffff ? 1 : 0);
    this.view.setUint32(at, low, true);
    this.view.setUint32(at + 4, mode === 2 ? high : 0, true);
  }
  get rsp(): bigint {
    return this.gpr(GPR.rsp);
  }
  set rsp(value: bigint) {
    this.setGpr(GPR.rsp, value);
  }
  /** The `steps` slot, exact up to 2^53. */
  get steps(): number {
    const at = this.base + STATE.steps.offset;
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 0x100000000;
  }
  /** RFLAGS without the arithmetic flags. */
  get systemFlags(): number {
    return this.view.getUint32(this.base + STATE.rflags.offset, true);
  }
  set cpl(value: number) {
    this.view.setUint8(this.base + STATE.cpl.offset, value);
  }
  set codeMode(mode: CodeMode) {
    this.view.setUint32(this.base + STATE.codeMode.offset, mode, true);
  }
  get codeMode(): CodeMode {
    return this.view.getUint32(this.base + STATE.codeMode.offset, true) as CodeMode;
  }
  /** Long mode is active (EFER.LMA). */
  get longMode(): boolean {
    return (this.view.getUint32(this.base + STATE.efer.offset, true) & EFER_LMA) !== 0;
  }
  /** The low 32 bits of CR4. */
  get cr4(): number {
    return this.view.getUint32(this.base + STATE.cr4.offset, true);
  }
  /** The low 32 bits of EFER. */
  get efer(): number {
    return this.view.getUint32(this.base + STATE.efer.offset, true);
  }
  get interruptShadow(): number {
    return this.view.getUint8(this.base + STATE.interruptShadow.offset);
  }
  set interruptShadow(value: number) {
    this.view.setUint8(this.base + STATE.interruptShadow.offset, value);
  }
  set nmiBlocked(value: number) {
    this.view.setUint8(this.base + STATE.nmiBlocked.offset, value);
  }
  /** The attributes of a segment register by number. */
  segmentAttributes(segment: number): number {
    return this.view.getUint16(this.base + STATE.segmentAttributes.offset + segment * 2, true);
  }
  get cpl(): number {
    return this.view.getUint8(this.base + STATE.cpl.offset);
  }
  selector(segment: keyof typeof SEG): number {
    return this.view.getUint16(this.base + STATE.selector.offset + SEG[segment] * 2, true);
  }
  /** Writes a segment register but for its base; `attributes` as in the state. */
  setSegment(segment: number, selector: number, limit: number, attributes: number): void {
    const { view, base } = this;
    view.setUint16(base + STATE.selector.offset + segment * 2, selector, true);
    view.setUint32(base + STATE.segmentLimit.offset + segment * 4, limit, true);
    view.setUint16(base + STATE.segmentAttributes.offset + segment * 2, attributes, true);
  }
  setSegmentBase(segment: number, value: bigint): void {
    this.view.setBigUint64(this.base + STATE.segmentBase.offset + segment * 8, value, true);
  }

  /** The architectural RFLAGS word. */
  get rflags(): number {
    const low = this.view.getInt32(this.base + STATE.flagsResult.offset, true);
    const high = this.view.getInt32(this.base + STATE.flagsResult.offset + 4, true);
    const aux = this.view.getUint32(this.base + STATE.flagsAux.offset, true);
    let parity = (low & 0xff) ^ ((aux >>> AUX.pdbShift) & 0xff);
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    let flags = this.view.getUint32(this.base + STATE.rflags.offset, true);
    if (aux >>> 31) flags |= FLAG.cf;
    if ((parity & 1) === 0) flags |= FLAG.pf;
    if (aux & AUX.af) flags |= FLAG.af;
    if ((low | high) === 0) flags |= FLAG.zf;
    if (high < 0 !== ((aux & AUX.sd) !== 0)) flags |= FLAG.sf;
    if (((aux >>> 31) ^ (aux >>> 30)) & 1) flags |= FLAG.of;
    return flags | 2;
  }
  set rflags(value: number) {
    const zero = (value & FLAG.zf) !== 0;
    // With result 0 or 1 the low byte has known parity; PDB and SD turn what does not fit.
    const parityOfResult = zero;
    const carry = (value & FLAG.cf) !== 0;
    let aux = 0;
    if (((value & FLAG.pf) !== 0) !== parityOfResult) aux |= 1 << AUX.pdbShift;
    if (value & FLAG.sf) aux |= AUX.sd;
    if (value & FLAG.af) aux |= AUX.af;
    if (carry) aux |= AUX.cf;
    if (carry !== ((value & FLAG.of) !== 0)) aux |= AUX.po;
    const { view, base } = this;
    view.setUint32(base + STATE.flagsResult.offset, zero ? 0 : 1, true);
    view.setUint32(base + STATE.flagsResult.offset + 4, 0, true);
    view.setUint32(base + STATE.flagsAux.offset, aux, true);
    view.setUint32(base + STATE.rflags.offset, (value & ~ARITHMETIC_FLAGS) | 2, true);
  }

  /** Zeroes the whole state and sets the fixed bits of RFLAGS. */
  clear(): void {
    new Uint8Array(this.view.buffer, this.base, STATE_BYTES).fill(0);
    this.rflags = 2;
  }
}
