/** A platform that catches the first event delivered and ends the run; user-mode cases need nothing else of it. */
import { unreachable } from '../../src/core/assert.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import { type EventKind, type Fault, type Outcome, type Platform, stop } from '../../src/x86/seam.ts';

const outside = (what: string): never => unreachable(what as never);

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
  syscall(): Outcome {
    return outside('SYSCALL in a case');
  }
  descriptor(): bigint | Fault {
    return outside('a descriptor in a case');
  }
  writeDescriptor(): Outcome {
    return outside('a descriptor in a case');
  }
  cpuid(): readonly [number, number, number, number] {
    return outside('CPUID in a case');
  }
  tsc(): bigint {
    return outside('RDTSC in a case');
  }
  readMsr(): bigint | Fault {
    return outside('RDMSR in a case');
  }
  writeMsr(): Outcome {
    return outside('WRMSR in a case');
  }
  portIn(): number {
    return outside('IN in a case');
  }
  portOut(): Outcome {
    return outside('OUT in a case');
  }
  controlWritten(): Outcome {
    return outside('MOV CR in a case');
  }
  halt(): Outcome {
    return outside('HLT in a case');
  }
}
