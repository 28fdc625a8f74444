/** A platform that catches the first event delivered and ends the run; user-mode cases need nothing else of it. */
import type { Cpu } from '../../src/x86/cpu.ts';
import { type EventKind, type Fault, type Outcome, type Platform, stop } from '../../src/x86/seam.ts';

const outside = (what: string): never => {
  throw new Error(`${what}: not in a case of user mode`);
};

/** An event, and the `rip` that would have been pushed. */
export interface Delivered {
  readonly event: Fault;
  readonly rip: bigint;
}

export class CatchingPlatform implements Platform {
  #delivered: Delivered | null = null;

  /** Takes what was delivered since the last call. */
  take(): Delivered | null {
    const delivered = this.#delivered;
    this.#delivered = null;
    return delivered;
  }

  deliver(cpu: Cpu, _kind: EventKind, event: Fault): Outcome {
    this.#delivered = { event, rip: cpu.rip };
    return stop('stopped', 'an event was delivered');
  }
  readonly vendor = 'amd';
  syscall(): Outcome {
    return outside('SYSCALL');
  }
  wantsInstruction(): boolean {
    return true;
  }
  sysenter(): Outcome {
    return outside('SYSENTER');
  }
  descriptor(): bigint | Fault {
    return outside('a descriptor');
  }
  writeDescriptor(): Outcome {
    return outside('a descriptor');
  }
  cpuid(): readonly [number, number, number, number] {
    return outside('CPUID');
  }
  tsc(): bigint {
    return outside('RDTSC');
  }
  readMsr(): bigint | Fault {
    return outside('RDMSR');
  }
  writeMsr(): Outcome {
    return outside('WRMSR');
  }
  portIn(): number {
    return outside('IN');
  }
  portOut(): Outcome {
    return outside('OUT');
  }
  controlWritten(): Outcome {
    return outside('MOV CR');
  }
  halt(): Outcome {
    return outside('HLT');
  }
}
