/**
 * Exceptions and software interrupts of a PV guest (D-31, D-42, D-46): Xen first tries to emulate, then bounces to the
 * guest's trap table. Sources: xen/arch/x86/traps.c, pv/traps.c.
 */
import { plus } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Insn } from '../../x86/form.ts';
import { type EventKind, type Fault, fault, isFault, isStop, type Outcome } from '../../x86/seam.ts';
import { FLAG, GPR, SEG, VECTOR } from '../../x86/state.ts';
import { FLAT } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { createBounceFrame } from './bounce.ts';
import { loadFlat } from './descriptors.ts';
import { emulateForcedPrefix, emulatePrivileged } from './emulate.ts';
import { logPageWalk, logUnhandled } from './messages.ts';
import type { XenPv } from './pv.ts';
import { noteSingleStep, setTaskSwitched, takeDebugStatus } from './registers.ts';
import { emulateTableWrite } from './table-write.ts';
import { TI } from './vcpu.ts';

/** Vectors that push an error code. */
const HAS_ERROR = new Set<number>([VECTOR.df, VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp, VECTOR.pf, VECTOR.ac]);
/** Page-fault error code bits. */
const PF = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

/** The code mode of a 64-bit segment. */
const LONG_MODE = 2;

/** An exception or software interrupt of the guest: emulated, or bounced to it. */
export function deliver(pv: XenPv, cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
  if (kind === 'int') return softwareInterrupt(pv, cpu, event, insn);
  const { vector } = event;
  const v = pv.vcpus[cpu.id]!;
  if (kind === 'fault') {
    if (vector === VECTOR.pf) {
      const handled = fixPageFault(pv, cpu, event, insn);
      // a single step shows in no bit of DR6 here (ro-page-fault.c)
      if (handled !== 'no') return handled ?? instructionDone(pv, cpu);
    } else if (vector === VECTOR.gp && event.error === 0 && insn !== null) {
      const outcome = emulatePrivileged(pv, cpu, insn);
      if (isFault(outcome)) return inject(pv, cpu, outcome);
      if (outcome !== 'no') return outcome ?? steppedOver(pv, cpu);
    } else if (vector === VECTOR.ud) {
      if (emulateForcedPrefix(pv, cpu)) return steppedOver(pv, cpu);
    } else if (vector === VECTOR.nm) {
      if (!v.taskSwitched) return null;
      setTaskSwitched(v, cpu, false);
      return inject(pv, cpu, event);
    }
  }
  if (vector === VECTOR.db) takeDebugStatus(v, cpu);
  return inject(pv, cpu, event);
}

/** Xen has carried an instruction out: RF is over, and a single step is reported at once. */
function instructionDone(pv: XenPv, cpu: Cpu): Outcome {
  const flags = cpu.systemFlags;
  cpu.set('rflags', flags & ~FLAG.rf);
  return flags & FLAG.tf ? inject(pv, cpu, fault(VECTOR.db)) : null;
}
/** The same with the step in DR6 (pv_emul_instruction_done, pv_emulate_privileged_op). */
function steppedOver(pv: XenPv, cpu: Cpu): Outcome {
  if (cpu.systemFlags & FLAG.tf) noteSingleStep(pv.vcpus[cpu.id]!);
  return instructionDone(pv, cpu);
}

/** pv_inject_event: the guest's handler, or the end of the domain. */
export function inject(pv: XenPv, cpu: Cpu, event: Fault, hardware = true): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const { vector } = event;
  const trap = v.traps[vector]!;
  let error: number | null = hardware && HAS_ERROR.has(vector) ? event.error : null;
  if (hardware && vector === VECTOR.pf) {
    v.cr2 = event.address;
    pv.memory.write64(v.infoAddress + AMD64.vcpuInfo.at.cr2, event.address);
    error = (event.error & ~PF.user) | (v.kernelMode ? 0 : PF.user);
  }
  if (trap.address === 0n) {
    logUnhandled(pv, cpu, vector, error);
    if (vector === VECTOR.pf) logPageWalk(pv, cpu, event.address);
  }
  if (pv.stream.wants('trap'))
    pv.stream.tell({
      kind: 'trap',
      vcpu: cpu.id,
      rip: cpu.rip,
      vector,
      error: error ?? 0,
      address: event.address,
    });
  return createBounceFrame(pv, cpu, { address: trap.address, error, maskEvents: (trap.flags & TI.maskEvents) !== 0 });
}

/** INT n: through the trap table when its DPL allows, else #GP with the IDT error code. `cpu.rip` is past the INT. */
function softwareInterrupt(pv: XenPv, cpu: Cpu, event: Fault, insn: Insn | null): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const { vector } = event;
  const dpl = v.traps[vector]!.flags & TI.dplMask;
  // permit_softint: the guest kernel counts as ring 1 (ring 0 only when its IOPL says so).
  if (dpl >= (v.kernelMode ? 1 : 3)) return inject(pv, cpu, event, false);
  cpu.rip = BigInt.asUintN(64, cpu.rip - BigInt(insn?.length ?? 2));
  return inject(pv, cpu, fault(VECTOR.gp, vector * 8 + 2));
}

/** A store of the guest kernel to a page that is there: page tables are read-only to it. */
function mayBeTableWrite(pv: XenPv, cpu: Cpu, event: Fault): boolean {
  const write = PF.present | PF.write;
  return pv.vcpus[cpu.id]!.kernelMode && (event.error & (write | PF.fetch | PF.reserved)) === write;
}
/** Page faults that are Xen's own business; 'no' when the guest gets them. */
function fixPageFault(pv: XenPv, cpu: Cpu, event: Fault, insn: Insn | null): Outcome | 'no' {
  return mayBeTableWrite(pv, cpu, event) ? emulateTableWrite(pv.mm, cpu, event, insn) : 'no';
}
/** Whether Xen looks at the instruction of a fault. */
export const mayEmulate = (pv: XenPv, cpu: Cpu, event: Fault): boolean =>
  event.vector === VECTOR.gp || (event.vector === VECTOR.pf && mayBeTableWrite(pv, cpu, event));

/** SYSCALL: a hypercall from the guest kernel, a bounce to the syscall callback from its user mode. */
export function syscall(pv: XenPv, cpu: Cpu, insn: Insn): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const compat = insn.mode !== LONG_MODE;
  cpu.setGprToRip(GPR.rcx);
  cpu.setGpr32(GPR.r11, cpu.rflags);
  // What Xen's entry finds and every frame shows are the selectors that SYSCALL loads.
  loadFlat(cpu, 'cs', compat ? FLAT.ring3Cs32 : FLAT.ring3Cs64);
  loadFlat(cpu, 'ss', FLAT.ring3Ss);
  // cstar_enter does not ask who calls: no hypercall from compatibility mode
  if (v.kernelMode && !compat) return pv.hypercall(cpu);
  const callback = compat ? v.syscall32Callback : v.syscallCallback;
  if (callback.address === 0n) {
    cpu.rip = plus(cpu.rip, -2);
    return inject(pv, cpu, fault(VECTOR.ud));
  }
  // The mask of the 64-bit callback stands for both (entry.S switch_to_kernel).
  const { maskEvents } = v.syscallCallback;
  const outcome = createBounceFrame(pv, cpu, { address: callback.address, error: null, maskEvents });
  if (!isStop(outcome)) {
    cpu.rflags &= ~FLAG.df;
    cpu.setGpr32(GPR.r11, cpu.rflags);
  }
  return outcome;
}

/**
 * SYSENTER, which saves neither RIP, RSP nor CS: a bounce to its callback, or #GP where there is none (entry.S sysenter_entry). It exists
 * on Intel's processors only.
 */
export function sysenter(pv: XenPv, cpu: Cpu): Outcome {
  const { address, maskEvents } = pv.vcpus[cpu.id]!.sysenterCallback;
  cpu.rip = 0n;
  cpu.rsp = 0n;
  cpu.set('selector', 3, SEG.cs);
  loadFlat(cpu, 'ss', FLAT.ring3Ss);
  if (address === 0n) return inject(pv, cpu, fault(VECTOR.gp, 0));
  return createBounceFrame(pv, cpu, { address, error: null, maskEvents });
}
