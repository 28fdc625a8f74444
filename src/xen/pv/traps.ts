/**
 * Exceptions and software interrupts of a PV guest (D-31, D-42, D-46): Xen first tries to emulate, then bounces to the
 * guest's trap table. Sources: xen/arch/x86/traps.c, pv/traps.c.
 */
import type { Cpu } from '../../x86/cpu.ts';
import type { Insn } from '../../x86/form.ts';
import { type EventKind, type Fault, fault, isFault, isStop, type Outcome } from '../../x86/seam.ts';
import { FLAG, GPR, VECTOR } from '../../x86/state.ts';
import { createBounceFrame } from './bounce.ts';
import { emulateForcedPrefix, emulatePrivileged } from './emulate.ts';
import { VCPU_INFO } from './events.ts';
import type { XenPv } from './pv.ts';

/** Mnemonics of Xen's messages (xen/arch/x86/traps.c vector_name). */
const NAMES = [
  'DE',
  'DB',
  'NMI',
  'BP',
  'OF',
  'BR',
  'UD',
  'NM',
  'DF',
  'COP',
  'TS',
  'NP',
  'SS',
  'GP',
  'PF',
  'SPURIOUS',
  'MF',
  'AC',
  'MC',
  'XM',
];
/** Vectors that push an error code. */
const HAS_ERROR = new Set<number>([VECTOR.df, VECTOR.ts, VECTOR.np, VECTOR.ss, VECTOR.gp, VECTOR.pf, VECTOR.ac]);
/** Page-fault error code bits. */
export const PF = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

export function deliver(pv: XenPv, cpu: Cpu, kind: EventKind, event: Fault, insn: Insn | null): Outcome {
  if (kind === 'int') return softwareInterrupt(pv, cpu, event, insn);
  const { vector } = event;
  const v = pv.vcpus[cpu.id]!;
  if (kind === 'fault') {
    if (vector === VECTOR.pf) {
      const handled = pv.fixPageFault(cpu, event, insn);
      if (handled !== 'no') return handled;
    } else if (vector === VECTOR.gp && event.error === 0 && v.kernelMode && insn !== null) {
      const outcome = emulatePrivileged(pv, cpu, insn);
      if (outcome !== 'no') return isFault(outcome) ? inject(pv, cpu, outcome) : outcome;
    } else if (vector === VECTOR.ud) {
      if (emulateForcedPrefix(pv, cpu)) return null;
    } else if (vector === VECTOR.nm) {
      if (!v.taskSwitched) return null;
      pv.setTaskSwitched(cpu, false);
      return inject(pv, cpu, event);
    }
  }
  return inject(pv, cpu, event);
}

/** pv_inject_event: the guest's handler, or the end of the domain. */
export function inject(pv: XenPv, cpu: Cpu, event: Fault, hardware = true): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const { vector } = event;
  const trap = v.traps[vector]!;
  let error: number | null = hardware && HAS_ERROR.has(vector) ? event.error : null;
  if (hardware && vector === VECTOR.pf) {
    v.cr2 = event.address;
    pv.memory.write64(v.infoAddress + VCPU_INFO.cr2, event.address);
    error = (event.error & ~PF.user) | (v.kernelMode ? 0 : PF.user);
  }
  if (trap.address === 0n) {
    const code = (error ?? 0).toString(16).padStart(4, '0');
    pv.log(`d${pv.domainId}v${cpu.id} Unhandled: vec ${vector}, #${NAMES[vector] ?? vector}[${code}]`);
    if (vector === VECTOR.pf) pv.logPageWalk(cpu, event.address);
  }
  pv.trace('trap', { vector, error: error ?? 0, address: event.address });
  return createBounceFrame(pv, cpu, { address: trap.address, error, maskEvents: (trap.flags & 4) !== 0 });
}

/** INT n: through the trap table when its DPL allows, else #GP with the IDT error code. `cpu.rip` is past the INT. */
function softwareInterrupt(pv: XenPv, cpu: Cpu, event: Fault, insn: Insn | null): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const { vector } = event;
  const dpl = v.traps[vector]!.flags & 3;
  // permit_softint: the guest kernel counts as ring 1 (ring 0 only when its IOPL says so).
  if (dpl >= (v.kernelMode ? 1 : 3)) return inject(pv, cpu, event, false);
  cpu.rip = BigInt.asUintN(64, cpu.rip - BigInt(insn?.length ?? 2));
  return inject(pv, cpu, fault(VECTOR.gp, vector * 8 + 2));
}

/** SYSCALL: a hypercall from the guest kernel, a bounce to the syscall callback from its user mode. */
export function syscall(pv: XenPv, cpu: Cpu, insn: Insn): Outcome {
  const v = pv.vcpus[cpu.id]!;
  cpu.setGpr(GPR.rcx, cpu.rip);
  cpu.setGpr(GPR.r11, BigInt(cpu.rflags));
  if (v.kernelMode) return pv.hypercall(cpu);
  const compat = insn.mode !== 2;
  const callback = compat ? v.syscall32Callback : v.syscallCallback;
  if (callback.address === 0n) {
    cpu.rip = BigInt.asUintN(64, cpu.rip - 2n);
    return inject(pv, cpu, fault(VECTOR.ud));
  }
  const outcome = createBounceFrame(pv, cpu, {
    address: callback.address,
    error: null,
    maskEvents: callback.maskEvents,
  });
  if (!isStop(outcome)) cpu.rflags &= ~FLAG.df;
  return outcome;
}
