/**
 * iret (23): back from the guest kernel to where it was entered (D-33). Source: xen/arch/x86/pv/iret.c.
 */
import type { Cpu } from '../../x86/cpu.ts';
import { isStop, type Stop } from '../../x86/seam.ts';
import { FLAG, GPR } from '../../x86/state.ts';
import { FLAT, VGCF, VMASST } from '../abi/numbers.ts';
import { AMD64, IRET_CONTEXT_64 } from '../abi/structures.ts';
import { toggleGuestMode } from '../pv/bounce.ts';
import { loadFlat, loadReturnSegment, showSelector } from '../pv/descriptors.ts';
import { GuestStruct } from '../pv/guest-access.ts';
import { domainCrash } from '../pv/messages.ts';
import type { XenPv } from '../pv/pv.ts';
import { inject } from '../pv/traps.ts';
import type { Hypercall } from './call.ts';

/** The frame, read for each return anew: a buffer takes longer to make than to fill. */
const FRAME = new GuestStruct(new Uint8Array(IRET_CONTEXT_64.bytes), IRET_CONTEXT_64);
const UPCALL_MASK = AMD64.vcpuInfo.at.evtchn_upcall_mask;
/** Flags that IRETQ loads (EFLAGS of SDM vol. 1 3.4.3 without VIF and VIP); SYSRET leaves RF and VM alone. */
const IRET_FLAGS = FLAG.cf | FLAG.pf | FLAG.af | FLAG.zf | FLAG.sf | FLAG.tf | FLAG.df | FLAG.of | FLAG.nt | FLAG.rf | FLAG.ac | FLAG.id; // biome-ignore format: one row
const SYSRET_FLAGS = IRET_FLAGS & ~FLAG.rf;

/**
 * HYPERVISOR_iret: leaves the guest kernel by the frame at RSP. Null when the registers are set (a fault of the return itself
 * has been bounced to the guest then), or the end of the domain.
 */
export const iret: Hypercall = ({ pv, cpu }): Stop | null => {
  const v = pv.vcpus[cpu.id]!;
  const frame = FRAME;
  if (!pv.guest.readInto(cpu, cpu.rsp, frame.bytes))
    return domainCrash(pv, cpu, 'arch/x86/pv/iret.c:104', 'Fault while reading IRET context from guest stack');
  const flags = frame.u32('rflags');
  if ((frame.u16('cs') & 3) === 3) {
    if (v.userTable === 0)
      return domainCrash(pv, cpu, 'arch/x86/pv/iret.c:104', 'Guest switching to user mode with no user page tables');
    toggleGuestMode(pv, cpu);
  }
  if (pv.hasAssist(VMASST.TYPE_architectural_iopl)) v.iopl = flags & FLAG.iopl;
  pv.memory.write8(v.infoAddress + UPCALL_MASK, flags & FLAG.if ? 0 : 1);
  cpu.setGpr(GPR.rax, frame.u64('rax'));
  cpu.rip = frame.u64('rip');
  cpu.rsp = frame.u64('rsp');
  cpu.interruptShadow = 0;
  const cs = frame.u16('cs') | 3;
  if (frame.u32('flags') & VGCF.in_syscall) {
    cpu.rflags = (flags & SYSRET_FLAGS) | FLAG.if;
    cpu.setGpr(GPR.rcx, cpu.rip);
    cpu.setGpr32(GPR.r11, cpu.rflags);
    loadFlat(cpu, 'cs', cs === FLAT.ring3Cs32 ? FLAT.ring3Cs32 : FLAT.ring3Cs64);
    loadFlat(cpu, 'ss', FLAT.ring3Ss);
    return null;
  }
  cpu.rflags = (flags & IRET_FLAGS) | FLAG.if;
  cpu.setGpr(GPR.rcx, frame.u64('rcx'));
  cpu.setGpr(GPR.r11, frame.u64('r11'));
  return returnBy(pv, cpu, cs, frame.u16('ss') | 3);
};

/** Loads CS and SS as IRETQ does. A selector that cannot be loaded faults at the place returned to, with it in the frame. */
function returnBy(pv: XenPv, cpu: Cpu, cs: number, ss: number): Stop | null {
  const refused = loadReturnSegment(pv, cpu, 'cs', cs) ?? loadReturnSegment(pv, cpu, 'ss', ss);
  if (refused === null) return null;
  showSelector(cpu, 'cs', cs);
  showSelector(cpu, 'ss', ss);
  const outcome = inject(pv, cpu, refused);
  return isStop(outcome) ? outcome : null;
}
