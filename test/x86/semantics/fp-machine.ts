/** A {@link Machine} with the floating-point unit switched on, vectors as BigInts, and system forms executed too. */
import { decode } from '../../../src/x86/decode/decode.ts';
import { type Fault, isFault, type Platform } from '../../../src/x86/seam.ts';
import { executeSystem } from '../../../src/x86/system/execute.ts';
import { Machine, type RegisterName } from './machine.ts';

/** CR0 of a running kernel: PE, MP, NE, PG. */
const CR0 = 0x8000_0023;
/** OSFXSR and OSXMMEXCPT. */
const CR4 = 0x600;
export const MXCSR_DEFAULT = 0x1f80;
const FCW_DEFAULT = 0x37f;

export class FpMachine extends Machine {
  constructor(registers: Partial<Record<RegisterName, bigint>> = {}, flags = 0) {
    super(registers, flags);
    this.cpu.set('cr0', CR0);
    this.cpu.set('cr4', CR4);
    this.cpu.set('mxcsr', MXCSR_DEFAULT);
    this.cpu.set('fcw', FCW_DEFAULT);
  }
  xmm(i: number): bigint {
    return this.cpu.get('xmm', i);
  }
  setXmm(i: number, value: bigint): void {
    this.cpu.set('xmm', value, i);
  }
  /** The low 64 bits of MMX register `i`. */
  mm(i: number): bigint {
    return BigInt.asUintN(64, this.cpu.get('fpr', i));
  }
  setMm(i: number, value: bigint): void {
    this.cpu.set('fpr', value, i);
  }
  /** The pattern in ST(i), or null when it is empty. */
  st(i: number): bigint | null {
    const number = (this.cpu.num('ftop') + i) & 7;
    return this.cpu.num('ftags') & (1 << number) ? this.cpu.get('fpr', number) : null;
  }
  /** Makes `values` the stack, ST(0) first, the other registers empty. */
  setStack(...values: bigint[]): void {
    this.cpu.set('ftop', 8 - values.length);
    this.cpu.set('ftags', 0);
    for (const [i, value] of values.entries()) {
      const number = 8 - values.length + i;
      this.cpu.set('fpr', value, number);
      this.cpu.set('ftags', this.cpu.num('ftags') | (1 << number));
    }
  }
  override step(hex: string): Fault | null {
    const bytes = Uint8Array.from(hex.match(/[0-9a-f]{2}/gi)!, (x) => Number.parseInt(x, 16));
    const insn = decode(bytes, 0, bytes.length, Number(this.cpu.rip & 0xfffn), this.mode, 'x86-64-v2');
    if (typeof insn === 'string' || !insn.form.system) return super.step(hex);
    const outcome = executeSystem(this.cpu, insn, {} as Platform);
    if (outcome !== null && !isFault(outcome)) throw new Error(`${hex} stopped`);
    return outcome;
  }
}
