/**
 * The IDT machine: the bare platform that tests boot. A CPU with its descriptor tables, a console on ports 0xE9 and COM1, and
 * QEMU's isa-debug-exit at 0xF4. Nothing raises interrupts by itself.
 */
import { type Infer, struct, u8 } from '../../core/schema.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { POLICIES, type Vendor } from '../../x86/features.ts';
import type { CpuPolicy, Insn } from '../../x86/form.ts';
import { type EventKind, type Fault, type Outcome, type Platform, stop } from '../../x86/seam.ts';
import { FLAG, GPR } from '../../x86/state.ts';
import { readTable, writeTable } from '../../x86/system/descriptors.ts';
import { enterFlat } from '../../x86/system/fast-call.ts';
import { generalProtection } from '../../x86/system/operands.ts';
import { cpuidLeaf } from './cpuid.ts';
import { deliverThroughIdt } from './delivery.ts';
import { readMsr, writeMsr } from './msr.ts';

/** The code mode of a 64-bit segment. */
const LONG_MODE = 2;
const DEBUG_CONSOLE = 0xe9;
const DEBUG_EXIT = 0xf4;
const COM1 = 0x3f8;
/** Offsets of the 16550's registers. */
const UART = { data: 0, interruptEnable: 1, lineControl: 3, modemControl: 4, lineStatus: 5, scratch: 7 } as const;
const DLAB = 0x80;
/** Transmitter empty and holding register empty. */
const TRANSMITTER_IDLE = 0x60;

/** The machine's own state: the UART registers that read back. */
export const idtMachineState = struct({
  interruptEnable: u8,
  lineControl: u8,
  modemControl: u8,
  scratch: u8,
  divisorLow: u8,
  divisorHigh: u8,
});
export type IdtMachineState = Infer<typeof idtMachineState>;

export class IdtMachine implements Platform {
  state: IdtMachineState = {
    interruptEnable: 0,
    lineControl: 0,
    modemControl: 0,
    scratch: 0,
    divisorLow: 1,
    divisorHigh: 0,
  };
  readonly #write: (byte: number) => void;
  readonly #policy: CpuPolicy;

  /** `write` takes each byte of console output. */
  constructor(write: (byte: number) => void = () => {}, policy: CpuPolicy = 'x86-64-v1') {
    this.#write = write;
    this.#policy = policy;
  }

  deliver(cpu: Cpu, kind: EventKind, event: Fault, _insn: Insn | null): Outcome {
    return deliverThroughIdt(cpu, this, kind, event);
  }
  wantsInstruction(): boolean {
    return false;
  }
  /** An external interrupt would be taken before the next instruction. */
  canInterrupt(cpu: Cpu): boolean {
    return (cpu.systemFlags & FLAG.if) !== 0 && cpu.num('interruptShadow') === 0;
  }

  get vendor(): Vendor {
    return POLICIES[this.#policy].vendor;
  }

  /** SDM vol. 2B "SYSCALL"; outside 64-bit mode APM vol. 3 "SYSCALL". */
  syscall(cpu: Cpu, insn: Insn): Outcome {
    const star = cpu.get('star');
    const selector = Number((star >> 32n) & 0xfffcn);
    cpu.setGpr(GPR.rcx, cpu.rip);
    if (cpu.longMode) {
      cpu.setGpr(GPR.r11, BigInt(cpu.rflags & ~FLAG.rf));
      cpu.rflags &= ~(Number(cpu.get('sfmask') & 0xffffffffn) | FLAG.rf);
      cpu.rip = cpu.get(insn.mode === LONG_MODE ? 'lstar' : 'cstar');
    } else {
      cpu.rflags &= ~(FLAG.vm | FLAG.if | FLAG.rf);
      cpu.rip = star & 0xffffffffn;
    }
    enterFlat(cpu, selector, selector + 8, 0, cpu.longMode);
    return null;
  }
  /** SDM vol. 2B "SYSENTER". */
  sysenter(cpu: Cpu): Outcome {
    const selector = cpu.num('sysenterCs') & 0xfffc;
    if (selector === 0) return generalProtection();
    const long = cpu.longMode;
    const width = (value: bigint): bigint => (long ? value : value & 0xffffffffn);
    cpu.rflags &= ~(FLAG.vm | FLAG.if);
    cpu.rsp = width(cpu.get('sysenterEsp'));
    cpu.rip = width(cpu.get('sysenterEip'));
    enterFlat(cpu, selector, selector + 8, 0, long);
    return null;
  }

  descriptor(cpu: Cpu, selector: number): bigint | Fault {
    return readTable(cpu, selector);
  }
  writeDescriptor(cpu: Cpu, selector: number, descriptor: bigint): Outcome {
    return writeTable(cpu, selector, descriptor);
  }

  cpuid(_cpu: Cpu, leaf: number, _subleaf: number): readonly [number, number, number, number] {
    return cpuidLeaf(this.#policy, leaf);
  }
  tsc(cpu: Cpu): bigint {
    return BigInt.asUintN(64, cpu.get('steps') + cpu.get('tscOffset'));
  }
  readMsr(cpu: Cpu, index: number): bigint | Fault {
    return readMsr(cpu, index);
  }
  writeMsr(cpu: Cpu, index: number, value: bigint): Outcome {
    return writeMsr(cpu, index, value);
  }

  portIn(_cpu: Cpu, port: number, width: number): number {
    const absent = width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff;
    // QEMU's debug console answers reads with its own number
    if (port === DEBUG_CONSOLE && width === 1) return DEBUG_CONSOLE;
    return width === 1 && port >= COM1 && port < COM1 + 8 ? this.#readUart(port - COM1) : absent;
  }
  portOut(_cpu: Cpu, port: number, _width: number, value: number): Outcome {
    if (port === DEBUG_CONSOLE) this.#write(value & 0xff);
    else if (port === DEBUG_EXIT) return stop('poweroff', `exit status ${((value << 1) | 1) >>> 0}`);
    else if (port >= COM1 && port < COM1 + 8) this.#writeUart(port - COM1, value & 0xff);
    return null;
  }

  #readUart(register: number): number {
    const { state } = this;
    const latch = (state.lineControl & DLAB) !== 0;
    switch (register) {
      case UART.data:
        return latch ? state.divisorLow : 0;
      case UART.interruptEnable:
        return latch ? state.divisorHigh : state.interruptEnable;
      case UART.lineControl:
        return state.lineControl;
      case UART.modemControl:
        return state.modemControl;
      case UART.lineStatus:
        return TRANSMITTER_IDLE;
      case UART.scratch:
        return state.scratch;
      default:
        return 0;
    }
  }
  #writeUart(register: number, value: number): void {
    const { state } = this;
    const latch = (state.lineControl & DLAB) !== 0;
    switch (register) {
      case UART.data:
        if (latch) state.divisorLow = value;
        else this.#write(value);
        break;
      case UART.interruptEnable:
        if (latch) state.divisorHigh = value;
        else state.interruptEnable = value & 0xf;
        break;
      case UART.lineControl:
        state.lineControl = value;
        break;
      case UART.modemControl:
        state.modemControl = value & 0x1f;
        break;
      case UART.scratch:
        state.scratch = value;
        break;
    }
  }

  controlWritten(_cpu: Cpu, _register: number): Outcome {
    return null;
  }
  /** Nothing can end the halt. */
  halt(cpu: Cpu): Outcome {
    cpu.set('halted', 1);
    return stop('hang', 'HLT on a machine without interrupt sources');
  }
}
