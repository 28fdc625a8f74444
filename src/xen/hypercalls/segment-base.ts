/** set_segment_base (25): A-22. Selector 3 of GS_USER_SEL never fails: a bad selector gives the null one. */
import { isFault } from '../../x86/seam.ts';
import { SEG } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { setSegment } from '../pv/bounce.ts';
import { unpackDescriptor } from '../pv/selectors.ts';
import type { Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

const BASE = { fs: 0, gsUser: 1, gsKernel: 2, gsUserSelector: 3 } as const;

export const setSegmentBase: Hypercall = (call) => {
  const { pv, cpu } = call;
  const base = call.args[1]!;
  const which = call.u32(0);
  if (which === BASE.gsUserSelector) {
    let selector = Number(base & 0xffffn);
    if (selector > 3) selector |= 3;
    const descriptor = selector > 3 ? pv.descriptor(cpu, selector) : null;
    if (descriptor === null || isFault(descriptor) || !usable(descriptor)) {
      cpu.set('selector', selector > 3 ? 0 : selector, SEG.gs);
      cpu.set('kernelGsBase', 0n);
      return 0;
    }
    setSegment(cpu, SEG.gs, selector, descriptor);
    cpu.set('kernelGsBase', unpackDescriptor(descriptor).base);
    return 0;
  }
  if (which > BASE.gsUserSelector || !canonicalAddress(base)) return -ERRNO.EINVAL;
  if (which === BASE.fs) cpu.set('segmentBase', base, SEG.fs);
  else if (which === BASE.gsKernel) cpu.set('segmentBase', base, SEG.gs);
  else cpu.set('kernelGsBase', base);
  return 0;
};

/** A data or readable code segment of DPL 3 that is present. */
function usable(descriptor: bigint): boolean {
  const { attributes } = unpackDescriptor(descriptor);
  const readable = (attributes & 8) === 0 || (attributes & 2) !== 0;
  return (attributes & 0x90) === 0x90 && readable && ((attributes >> 5) & 3) === 3;
}
