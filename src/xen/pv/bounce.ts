/**
 * Entering the guest kernel: the bounce frame (D-30) and mode toggling (D-23).
 * Sources: xen/arch/x86/x86_64/entry.S create_bounce_frame, pv/domain.c toggle_guest_mode.
 */
import type { VirtAddr } from '../../core/units.ts';
import { joinWords, plus } from '../../core/words.ts';
import type { Cpu } from '../../x86/cpu.ts';
import type { Outcome } from '../../x86/seam.ts';
import { FLAG, GPR, SEG } from '../../x86/state.ts';
import { FLAT, HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START, VMASST } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { loadFlat } from './descriptors.ts';
import { crashInEntry, logPageWalk } from './messages.ts';
import type { XenPv } from './pv.ts';

/** How the guest kernel is entered (struct trap_bounce). */
export interface Bounce {
  readonly address: VirtAddr;
  readonly error: number | null;
  /** Sets the upcall mask on entry. */
  readonly maskEvents: boolean;
}

const UPCALL_MASK = AMD64.vcpuInfo.at.evtchn_upcall_mask;
/** Flags that an entry of the guest kernel clears (SDM vol. 3A 6.12.1.2), and AC. */
const CLEARED_ON_ENTRY = FLAG.ac | FLAG.vm | FLAG.rf | FLAG.nt | FLAG.tf;

/** The frame's words, written for each entry anew; the error code is one of eight. */
const frameOf = (words: number): { readonly values: BigUint64Array; readonly bytes: Uint8Array } => {
  const values = new BigUint64Array(words);
  return { values, bytes: new Uint8Array(values.buffer) };
};
const FRAME = frameOf(7);
const FRAME_WITH_ERROR = frameOf(8);

/** Swaps kernel and user mode: page tables and GS base. */
export function toggleGuestMode(pv: XenPv, cpu: Cpu): void {
  const v = pv.vcpus[cpu.id]!;
  v.kernelMode = !v.kernelMode;
  const gs = cpu.get('segmentBase', SEG.gs);
  cpu.set('segmentBase', cpu.get('kernelGsBase'), SEG.gs);
  cpu.set('kernelGsBase', gs);
  pv.loadTables(cpu);
}

/**
 * Pushes the frame and enters the guest kernel at `bounce.address`; one step. RCX and R11 hold RIP and RFLAGS afterwards, since
 * Xen returns to the guest by SYSRET.
 */
export function createBounceFrame(pv: XenPv, cpu: Cpu, bounce: Bounce): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const { rip, rflags } = cpu;
  const oldRsp = cpu.rsp;
  const oldSs = cpu.selector('ss');
  let cs = cpu.selector('cs');
  let rsp = oldRsp;
  if (v.kernelMode) cs &= ~3;
  else {
    toggleGuestMode(pv, cpu);
    rsp = v.kernelSp;
  }
  rsp &= ~0xfn;
  if (rsp > HYPERVISOR_VIRT_START && rsp < HYPERVISOR_VIRT_END + 64n)
    return crashInEntry(pv, cpu, 'create_bounce_frame_bad_sp');

  const mask = pv.memory.read8(v.infoAddress + UPCALL_MASK);
  const iopl = pv.hasAssist(VMASST.TYPE_architectural_iopl) ? v.iopl : 0;
  const saved = (rflags & ~(FLAG.if | FLAG.iopl)) | (mask === 0 ? FLAG.if : 0) | iopl;
  const { error } = bounce;
  const frame = error === null ? FRAME : FRAME_WITH_ERROR;
  let i = 0;
  frame.values[i++] = cpu.gpr(GPR.rcx);
  frame.values[i++] = cpu.gpr(GPR.r11);
  if (error !== null) frame.values[i++] = joinWords(error, 0);
  frame.values[i++] = rip;
  frame.values[i++] = joinWords(cs, mask);
  frame.values[i++] = joinWords(saved, 0);
  frame.values[i++] = oldRsp;
  frame.values[i] = joinWords(oldSs, 0);
  rsp = plus(rsp, -frame.bytes.length);
  if (!pv.guest.write(cpu, rsp, frame.bytes)) {
    logPageWalk(pv, cpu, rsp);
    return crashInEntry(pv, cpu, 'create_bounce_frame');
  }
  if (bounce.maskEvents) pv.memory.write8(v.infoAddress + UPCALL_MASK, mask | 1);

  cpu.rflags = rflags & ~CLEARED_ON_ENTRY;
  cpu.rsp = rsp;
  loadFlat(cpu, 'ss', FLAT.ring3Ss);
  loadFlat(cpu, 'cs', FLAT.ring3Cs64);
  if (bounce.address === 0n) return crashInEntry(pv, cpu, 'create_bounce_frame_bad_bounce_ip');
  cpu.rip = bounce.address;
  cpu.setGprToRip(GPR.rcx);
  cpu.setGpr32(GPR.r11, cpu.rflags);
  cpu.interruptShadow = 0;
  return null;
}
