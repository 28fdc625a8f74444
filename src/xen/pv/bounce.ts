/**
 * Entering and leaving the guest kernel: the bounce frame (D-30), mode toggling (D-23) and the iret hypercall (D-33).
 * Sources: xen/arch/x86/x86_64/entry.S create_bounce_frame, pv/iret.c, pv/domain.c toggle_guest_mode.
 */
import type { Cpu } from '../../x86/cpu.ts';
import { isFault, type Outcome } from '../../x86/seam.ts';
import { FLAG, GPR, SEG } from '../../x86/state.ts';
import { VCPU_INFO } from './events.ts';
import type { XenPv } from './pv.ts';
import { FLAT, FLAT_DESCRIPTORS, unpackDescriptor } from './selectors.ts';

/** How the guest kernel is entered (struct trap_bounce). */
export interface Bounce {
  readonly address: bigint;
  readonly error: number | null;
  /** Sets the upcall mask on entry. */
  readonly maskEvents: boolean;
}

/** Flags an IRET frame may set (X86_EFLAGS_ALL). */
const IRET_FLAGS = 0x003f7fd5;
const IN_SYSCALL = 1 << 8;
const XEN_START = 0xffff800000000000n;
const XEN_END = 0xffff880000000000n;

/** Loads a flat segment of Xen's into CS or SS. */
export function loadFlat(cpu: Cpu, segment: 'cs' | 'ss', selector: number): void {
  setSegment(cpu, SEG[segment], selector, FLAT_DESCRIPTORS.get(selector & ~7)!);
}

/** Puts a descriptor into a segment register without checks. */
export function setSegment(cpu: Cpu, segment: number, selector: number, descriptor: bigint): void {
  const { base, limit, attributes } = unpackDescriptor(descriptor);
  cpu.set('selector', selector, segment);
  cpu.set('segmentLimit', limit, segment);
  cpu.set('segmentAttributes', attributes, segment);
  if (segment !== SEG.fs && segment !== SEG.gs) cpu.set('segmentBase', base, segment);
  if (segment === SEG.cs) cpu.set('codeMode', attributes & 0x2000 ? 2 : attributes & 0x4000 ? 1 : 0);
}

/** Swaps kernel and user mode: page tables and GS base. */
export function toggleGuestMode(pv: XenPv, cpu: Cpu): void {
  const v = pv.vcpus[cpu.id]!;
  v.kernelMode = !v.kernelMode;
  const gs = cpu.get('segmentBase', SEG.gs);
  cpu.set('segmentBase', cpu.get('kernelGsBase'), SEG.gs);
  cpu.set('kernelGsBase', gs);
  pv.loadTables(cpu);
}

/** Pushes the frame and enters the guest kernel at `bounce.address`; one step. */
export function createBounceFrame(pv: XenPv, cpu: Cpu, bounce: Bounce): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const oldRsp = cpu.rsp;
  let cs = cpu.selector('cs');
  const ss = cpu.selector('ss');
  let rsp: bigint;
  if (v.kernelMode) {
    rsp = oldRsp;
    cs &= ~3;
  } else {
    toggleGuestMode(pv, cpu);
    rsp = v.kernelSp;
  }
  rsp &= ~0xfn;
  if (rsp > XEN_START && rsp < XEN_END + 64n) return pv.crash(cpu, 'create_bounce_frame_bad_sp');

  const info = v.infoAddress;
  const savedMask = pv.memory.read8(info + VCPU_INFO.mask);
  const flags = cpu.rflags;
  const saved = (flags & ~(FLAG.if | FLAG.iopl)) | (savedMask === 0 ? FLAG.if : 0) | (pv.hasAssist(4) ? v.iopl : 0);
  const words: bigint[] = [cpu.gpr(GPR.rcx), cpu.gpr(GPR.r11)];
  if (bounce.error !== null) words.push(BigInt(bounce.error >>> 0));
  words.push(cpu.rip, BigInt(cs & 0xffff) | (BigInt(savedMask) << 32n), BigInt(saved >>> 0), oldRsp, BigInt(ss));
  rsp -= BigInt(words.length * 8);
  const frame = new Uint8Array(words.length * 8);
  const view = new DataView(frame.buffer);
  words.forEach((word, i) => {
    view.setBigUint64(i * 8, word, true);
  });
  if (!pv.guest.write(cpu, BigInt.asUintN(64, rsp), frame)) return pv.crash(cpu, 'create_bounce_frame', rsp);
  if (bounce.maskEvents) pv.memory.write8(info + VCPU_INFO.mask, savedMask | 1);
  if (bounce.address === 0n) return pv.crash(cpu, 'create_bounce_frame_bad_bounce_ip');

  cpu.rflags = flags & ~(FLAG.ac | FLAG.vm | FLAG.rf | FLAG.nt | FLAG.tf);
  cpu.rsp = BigInt.asUintN(64, rsp);
  loadFlat(cpu, 'ss', FLAT.stack);
  loadFlat(cpu, 'cs', FLAT.code64);
  cpu.rip = bounce.address;
  cpu.set('interruptShadow', 0);
  return null;
}

/** HYPERVISOR_iret: leaves the guest kernel by the 72-byte frame at RSP. */
export function iret(pv: XenPv, cpu: Cpu): Outcome {
  const v = pv.vcpus[cpu.id]!;
  const frame = pv.guest.view(cpu, cpu.rsp, 72);
  if (frame === null) {
    pv.log(`d${pv.domainId}v${cpu.id} Fault while reading IRET context from guest stack`);
    return pv.crash(cpu, 'do_iret');
  }
  const word = (i: number): bigint => frame.getBigUint64(i * 8, true);
  const [rax, r11, rcx, iretFlags, rip, csWord, rflagsWord, rsp, ssWord] = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(word) as [
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const cs = Number(csWord & 0xffffn);
  const rflags = Number(rflagsWord & 0xffffffffn);
  if ((cs & 3) === 3) {
    if (v.userTable === 0) {
      pv.log(`d${pv.domainId}v${cpu.id} Guest switching to user mode with no user page tables`);
      return pv.crash(cpu, 'do_iret');
    }
    toggleGuestMode(pv, cpu);
  }
  if (pv.hasAssist(4)) v.iopl = rflags & FLAG.iopl;
  cpu.rip = rip;
  cpu.rflags = (rflags & IRET_FLAGS & ~(FLAG.iopl | FLAG.vm)) | FLAG.if | 2;
  cpu.rsp = rsp;
  if (!(Number(iretFlags & 0xffffffffn) & IN_SYSCALL)) {
    cpu.setGpr(GPR.r11, r11);
    cpu.setGpr(GPR.rcx, rcx);
  }
  cpu.setGpr(GPR.rax, rax);
  pv.memory.write8(v.infoAddress + VCPU_INFO.mask, rflags & FLAG.if ? 0 : 1);
  for (const [segment, selector] of [
    ['cs', cs | 3],
    ['ss', Number(ssWord & 0xffffn) | 3],
  ] as const) {
    const bad = loadReturnSegment(pv, cpu, segment, selector);
    if (bad) return failsafe(pv, cpu, selector);
  }
  return null;
}

/** Loads CS or SS as IRETQ would; true when the selector cannot be used. */
function loadReturnSegment(pv: XenPv, cpu: Cpu, segment: 'cs' | 'ss', selector: number): boolean {
  const descriptor = pv.descriptor(cpu, selector);
  if (isFault(descriptor)) return true;
  const { attributes } = unpackDescriptor(descriptor);
  const present = (attributes & 0x80) !== 0;
  const codeOrData = (attributes & 0x10) !== 0;
  const isCode = (attributes & 8) !== 0;
  const dpl = (attributes >> 5) & 3;
  if (!present || !codeOrData || isCode !== (segment === 'cs') || dpl !== 3) return true;
  setSegment(cpu, SEG[segment], selector, descriptor);
  return false;
}

/** D-47: the return to the guest failed; the failsafe callback gets DS, ES, FS, GS and the usual frame. */
function failsafe(pv: XenPv, cpu: Cpu, selector: number): Outcome {
  const v = pv.vcpus[cpu.id]!;
  if (v.failsafeCallback.address === 0n) {
    pv.log(`d${pv.domainId}v${cpu.id} Bad return selector ${selector.toString(16)} without a failsafe callback`);
    return pv.crash(cpu, 'failsafe_callback');
  }
  loadFlat(cpu, 'ss', FLAT.stack);
  loadFlat(cpu, 'cs', FLAT.code64);
  const outcome = createBounceFrame(pv, cpu, {
    address: v.failsafeCallback.address,
    error: null,
    maskEvents: v.failsafeCallback.maskEvents,
  });
  if (outcome !== null) return outcome;
  const selectors = (['ds', 'es', 'fs', 'gs'] as const).map((s) => BigInt(cpu.selector(s)));
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  selectors.forEach((s, i) => {
    view.setBigUint64(i * 8, s, true);
  });
  const rsp = BigInt.asUintN(64, cpu.rsp - 32n);
  if (!pv.guest.write(cpu, rsp, bytes)) return pv.crash(cpu, 'failsafe_callback', rsp);
  cpu.rsp = rsp;
  return null;
}
