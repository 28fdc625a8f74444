/** A CPU over flat memory without paging, with descriptor tables, for tests of system instructions and of the IDT machine. */
import { IdtMachine } from '../../../src/platform/idt/machine.ts';
import { type AccessOptions, Cpu, type LinearMemory } from '../../../src/x86/cpu.ts';
import { decode } from '../../../src/x86/decode/decode.ts';
import type { CodeMode, CpuPolicy, Insn } from '../../../src/x86/form.ts';
import { type Fault, fault, type Outcome } from '../../../src/x86/seam.ts';
import { SEG, STATE_BYTES, VECTOR } from '../../../src/x86/state.ts';
import { executeSystem } from '../../../src/x86/system/execute.ts';

const SIZE = 0x20000;

/** 128 KiB at address 0; everything else faults, and so do writes to pages in `readOnly` and user access to `supervisor` pages. */
class FlatMemory implements LinearMemory {
  readonly bytes = new Uint8Array(SIZE);
  readonly readOnly = new Set<number>();
  readonly supervisorPages = new Set<number>();
  #check(cpu: Cpu, address: bigint, bytes: number, write: boolean, options?: AccessOptions): null | Fault {
    const canonical = BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;
    if (!canonical) return fault(options?.stack ? VECTOR.ss : VECTOR.gp);
    const user = cpu.cpl === 3 && !options?.supervisor;
    const error = (write ? 2 : 0) | (user ? 4 : 0);
    for (const at of [address, address + BigInt(bytes - 1)]) {
      if (at >= BigInt(SIZE)) return fault(VECTOR.pf, error, at);
      const page = Number(at >> 12n);
      if ((write && this.readOnly.has(page)) || (user && this.supervisorPages.has(page)))
        return fault(VECTOR.pf, error | 1, at);
    }
    return null;
  }
  load(cpu: Cpu, address: bigint, width: number, options?: AccessOptions): bigint | Fault {
    return this.#check(cpu, address, width, false, options) ?? this.peek(Number(address), width);
  }
  store(cpu: Cpu, address: bigint, width: number, value: bigint, options?: AccessOptions): null | Fault {
    const failed = this.#check(cpu, address, width, true, options);
    if (failed) return failed;
    this.poke(Number(address), width, value);
    return null;
  }
  probe(cpu: Cpu, address: bigint, bytes: number, options?: AccessOptions): null | Fault {
    return this.#check(cpu, address, bytes, true, options);
  }
  flush(): void {}
  peek(address: number, width: number): bigint {
    let value = 0n;
    for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[address + i]!);
    return value;
  }
  poke(address: number, width: number, value: bigint): void {
    for (let i = 0; i < width; i++) this.bytes[address + i] = Number((value >> BigInt(i * 8)) & 0xffn);
  }
}

/** Selectors of the test GDT. */
export const SELECTOR = {
  code64: 0x08,
  data: 0x10,
  code32: 0x18,
  userCode32: 0x23,
  userData: 0x2b,
  userCode64: 0x33,
  tss: 0x38,
  callGate: 0x48,
  absent: 0x58,
  ldt: 0x60,
} as const;

/** Descriptors as Linux and the manual write them. */
const GDT: Readonly<Record<number, bigint>> = {
  [SELECTOR.code64]: 0x00af9a000000ffffn,
  [SELECTOR.data]: 0x00cf92000000ffffn,
  [SELECTOR.code32]: 0x00cf9a000000ffffn,
  [SELECTOR.userCode32 & ~3]: 0x00cffa000000ffffn,
  [SELECTOR.userData & ~3]: 0x00cff2000000ffffn,
  [SELECTOR.userCode64 & ~3]: 0x00affb000000ffffn,
  [SELECTOR.absent]: 0x00cf12000000ffffn,
};
export const GDT_AT = 0x1000;
export const IDT_AT = 0x2000;
export const TSS_AT = 0x4000;
export const CODE_AT = 0x10000;
/** Tops of the stacks: user, privilege 0 from the TSS, and IST 1. */
export const STACK = { user: 0x9008, inner: 0xa008, ist1: 0xb008 } as const;
const LMA = 0x500;

export class Bench {
  readonly memory = new FlatMemory();
  readonly cpu: Cpu;
  output = '';
  readonly machine: IdtMachine;
  readonly long: boolean;
  readonly policy: CpuPolicy;

  /** Starts at CPL 0 in 64-bit mode, or in 32-bit protected mode. */
  constructor(long = true, policy: CpuPolicy = 'x86-64-v1') {
    this.long = long;
    this.policy = policy;
    this.machine = new IdtMachine((byte) => {
      this.output += String.fromCharCode(byte);
    }, policy);
    this.cpu = new Cpu(new DataView(new ArrayBuffer(STATE_BYTES)), 0, 0, this.memory);
    const { cpu, memory } = this;
    cpu.clear();
    cpu.set('cr0', 0x80000011);
    cpu.set('cr4', 0x20);
    cpu.set('efer', long ? LMA | 1 : 0);
    for (const [selector, raw] of Object.entries(GDT)) memory.poke(GDT_AT + Number(selector), 8, raw);
    cpu.set('gdtrBase', GDT_AT);
    cpu.set('gdtrLimit', 0x7f);
    cpu.set('idtrBase', IDT_AT);
    cpu.set('idtrLimit', 0xfff);
    // available 64-bit or 32-bit TSS with limit 0x67
    memory.poke(GDT_AT + SELECTOR.tss, 8, 0x0000890000000067n | (BigInt(TSS_AT) << 16n));
    memory.poke(TSS_AT + 0x66, 2, 0x68n); // no I/O bitmap
    if (long) {
      memory.poke(TSS_AT + 4, 8, BigInt(STACK.inner));
      memory.poke(TSS_AT + 0x24, 8, BigInt(STACK.ist1));
    } else {
      memory.poke(TSS_AT + 4, 4, BigInt(STACK.inner));
      memory.poke(TSS_AT + 8, 2, BigInt(SELECTOR.data));
    }
    this.enter(long ? SELECTOR.code64 : SELECTOR.code32, SELECTOR.data);
    for (const segment of [SEG.es, SEG.ds, SEG.fs, SEG.gs]) this.#load(segment, SELECTOR.data);
    this.run('0f 00 d8', { rax: BigInt(SELECTOR.tss) }); // ltr ax
    cpu.rsp = BigInt(STACK.user);
    cpu.rip = BigInt(CODE_AT);
  }

  #load(segment: number, selector: number): void {
    const raw = this.memory.peek(GDT_AT + (selector & ~7), 8) | (1n << 40n);
    this.cpu.set('selector', selector, segment);
    this.cpu.set('segmentBase', 0n, segment);
    this.cpu.set('segmentLimit', 0xffffffff, segment);
    this.cpu.set('segmentAttributes', (raw >> 40n) & 0xf0ffn, segment);
  }
  /** Puts CS, SS, CPL and code mode without any check. */
  enter(code: number, stack: number): void {
    this.#load(SEG.cs, code);
    this.#load(SEG.ss, stack);
    this.cpu.set('cpl', code & 3);
    this.cpu.set('codeMode', this.mode);
  }
  /** User mode of the bench's own kind. */
  enterUser(): void {
    this.enter(this.long ? SELECTOR.userCode64 : SELECTOR.userCode32, SELECTOR.userData);
  }
  get mode(): CodeMode {
    return this.cpu.num('segmentAttributes', SEG.cs) & (1 << 13) && this.long ? 2 : 1;
  }
  decode(hex: string): Insn {
    const bytes = Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));
    const at = Number(this.cpu.rip & 0xfffn);
    const insn = decode(bytes, 0, bytes.length, at, this.mode, this.policy);
    if (typeof insn === 'string') throw new Error(`${hex}: ${insn}`);
    return insn;
  }
  /** Executes one system instruction after setting registers. */
  run(hex: string, registers: Partial<Record<'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsi' | 'rdi', bigint>> = {}): Outcome {
    const order = ['rax', 'rcx', 'rdx', 'rbx', '', '', 'rsi', 'rdi'];
    for (const [name, value] of Object.entries(registers)) this.cpu.setGpr(order.indexOf(name), value);
    return executeSystem(this.cpu, this.decode(hex), this.machine);
  }
  /** Delivers a fault as the engine does when an instruction raises one. */
  raise(vector: number, error = 0, address = 0n): Outcome {
    return this.machine.deliver(this.cpu, 'fault', fault(vector, error, address), null);
  }
  /** Writes an interrupt (14) or trap (15) gate. */
  gate(
    vector: number,
    offset: number,
    options: { dpl?: number; ist?: number; type?: number; code?: number } = {},
  ): void {
    const { dpl = 0, ist = 0, type = 14, code = this.long ? SELECTOR.code64 : SELECTOR.code32 } = options;
    const low = BigInt(offset & 0xffff) | (BigInt(code) << 16n);
    const high = BigInt(ist) | (BigInt(0x80 | (dpl << 5) | type) << 8n) | (BigInt(offset >>> 16) << 16n);
    const bytes = this.long ? 16 : 8;
    this.memory.poke(IDT_AT + vector * bytes, bytes, low | (high << 32n));
  }
  /** `count` values of `width` bytes from the top of the stack. */
  stack(count: number, width = 8): bigint[] {
    return Array.from({ length: count }, (_, i) => this.memory.peek(Number(this.cpu.rsp) + i * width, width));
  }
}

export const gp = (error = 0): Fault => fault(VECTOR.gp, error);
