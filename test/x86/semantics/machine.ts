/** A vCPU over a few kilobytes of flat memory, which runs instructions given as bytes through the evaluator. */
import { type AccessOptions, Cpu, type LinearMemory } from '../../../src/x86/cpu.ts';
import { decode } from '../../../src/x86/decode/decode.ts';
import { emulate } from '../../../src/x86/emulate.ts';
import type { CodeMode } from '../../../src/x86/form.ts';
import { type Fault, fault, type Platform } from '../../../src/x86/seam.ts';
import { FLAG, GPR, SEG, STATE_BYTES, VECTOR } from '../../../src/x86/state.ts';
import { setFlatSegment } from '../../../src/x86/system/descriptors.ts';
import { executeSystem } from '../../../src/x86/system/execute.ts';

/** Memory lies at this linear address; everything else is not present. */
export const DATA = 0x10000n;
const DATA_BYTES = 0x3000;
/** The last page can only be read. */
export const READ_ONLY = DATA + 0x2000n;
export const CODE = 0x40_0000n;

class FlatMemory implements LinearMemory {
  readonly bytes = new Uint8Array(DATA_BYTES);
  /** Every access, for example `load 10000 4`. */
  readonly log: string[] = [];

  #check(address: bigint, bytes: number, write: boolean, options: AccessOptions | undefined): Fault | null {
    const last = address + BigInt(bytes) - 1n;
    const canonical = BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
    if (!canonical) return fault(options?.stack ? VECTOR.ss : VECTOR.gp);
    const present = address >= DATA && last < DATA + BigInt(DATA_BYTES);
    if (!present || (write && last >= READ_ONLY)) return fault(VECTOR.pf, (present ? 1 : 0) | (write ? 2 : 0), address);
    return null;
  }
  load(_: Cpu, address: bigint, width: number, options?: AccessOptions): bigint | Fault {
    const wrong = this.#check(address, width, false, options);
    if (wrong) return wrong;
    this.log.push(`load ${address.toString(16)} ${width}`);
    return this.peek(address, width);
  }
  store(_: Cpu, address: bigint, width: number, value: bigint, options?: AccessOptions): null | Fault {
    const wrong = this.#check(address, width, true, options);
    if (wrong) return wrong;
    this.log.push(`store ${address.toString(16)} ${width}`);
    this.poke(address, width, value);
    return null;
  }
  probe(_: Cpu, address: bigint, bytes: number, options?: AccessOptions): null | Fault {
    return this.#check(address, bytes, true, options);
  }
  flush(): void {}

  peek(address: bigint, width: number): bigint {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[Number(address - DATA) + i]!);
    return value;
  }
  poke(address: bigint, width: number, value: bigint): void {
    for (let i = 0; i < width; i++) this.bytes[Number(address - DATA) + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

export type RegisterName = keyof typeof GPR;

export class Machine {
  readonly cpu: Cpu;
  readonly memory = new FlatMemory();
  mode: CodeMode = 2;

  constructor(registers: Partial<Record<RegisterName, bigint>> = {}, flags = 0) {
    // A base that is not 0, so that a forgotten one shows.
    this.cpu = new Cpu(new DataView(new ArrayBuffer(STATE_BYTES + 64)), 64, 0, this.memory);
    this.cpu.clear();
    for (const segment of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) setFlatSegment(this.cpu, segment, 0, 0xc093);
    setFlatSegment(this.cpu, SEG.cs, 0, 0xc09b);
    this.cpu.rip = CODE;
    this.cpu.rsp = DATA + 0x800n;
    for (const [name, value] of Object.entries(registers)) this.set(name as RegisterName, value);
    this.cpu.rflags = flags;
  }
  get(name: RegisterName): bigint {
    return this.cpu.gpr(GPR[name]);
  }
  set(name: RegisterName, value: bigint): void {
    this.cpu.setGpr(GPR[name], value);
  }

  /** Runs the instruction of these bytes (hex, blanks allowed) at `rip`. */
  step(hex: string): Fault | null {
    const bytes = Uint8Array.from(hex.match(/[0-9a-f]{2}/gi)!, (x) => Number.parseInt(x, 16));
    const insn = decode(bytes, 0, bytes.length, Number(this.cpu.rip & 0xfffn), this.mode, 'x86-64-v2');
    if (typeof insn === 'string') throw new Error(`${hex}: ${insn}`);
    this.cpu.set('codeMode', this.mode);
    // The system instructions tested here (ENTER) ask nothing of a platform.
    if (insn.form.system) return executeSystem(this.cpu, insn, {} as Platform) as Fault | null;
    return emulate(this.cpu, insn);
  }
  /** The arithmetic flags that are set, for example `CF ZF`. */
  get flags(): string {
    const word = this.cpu.rflags;
    return (['cf', 'pf', 'af', 'zf', 'sf', 'of'] as const)
      .filter((name) => (word & FLAG[name]) !== 0)
      .join(' ')
      .toUpperCase();
  }
  /** Registers, flags and a checksum of memory, to see that a fault changed nothing. */
  image(): string {
    const registers = Object.values(GPR).map((number) => this.cpu.gpr(number).toString(16));
    const sum = this.memory.bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 16777619) >>> 0, 2166136261);
    return `${registers.join(' ')} ${this.cpu.rip.toString(16)} ${this.cpu.rflags.toString(16)} ${sum.toString(16)}`;
  }
}

/** All arithmetic flags. */
export const ALL_FLAGS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.of;
