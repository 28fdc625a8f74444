/** set_segment_base (25): (which, base or selector), A-22. A bad selector for GS_USER_SEL gives the null one; it never fails. */
import { isFault } from '../../x86/seam.ts';
import { SEG } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { SEGBASE } from '../abi/numbers.ts';
import { isData, setSegment, unpackDescriptor } from '../pv/descriptors.ts';
import { setSegmentBaseOf } from '../pv/registers.ts';
import type { Call, Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

export const setSegmentBase: Hypercall = (call) => {
  const which = call.u32(0);
  if (which === SEGBASE.GS_USER_SEL) return loadUserGs(call, Number(call.ptr(1) & 0xffffn));
  if (which > SEGBASE.GS_USER_SEL || !canonicalAddress(call.ptr(1))) return -ERRNO.EINVAL;
  const slot = which === SEGBASE.FS ? 'fs' : which === SEGBASE.GS_KERNEL ? 'gs' : 'userGs';
  setSegmentBaseOf(call.cpu, slot, call.ptr(1));
  return 0;
};

function loadUserGs({ pv, cpu }: Call, asked: number): number {
  const selector = asked > 3 ? asked | 3 : asked;
  const descriptor = selector > 3 ? pv.descriptor(cpu, selector) : null;
  const loaded = descriptor !== null && !isFault(descriptor) && isData(descriptor) ? descriptor : null;
  if (loaded === null) cpu.set('selector', selector > 3 ? 0 : selector, SEG.gs);
  else setSegment(cpu, SEG.gs, selector, loaded);
  setSegmentBaseOf(cpu, 'userGs', loaded === null ? 0n : unpackDescriptor(loaded).base);
  return 0;
}
