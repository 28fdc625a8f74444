/**
 * The references to frames that Xen holds outside of page-table entries and pins: what it runs on, what it writes by machine
 * address, what its back ends have mapped.
 *
 * Invariant: this list, the entries of validated tables, the pin bits and the allocations are all the references there are;
 * it follows from state alone.
 */
import type { MachineFrame } from '../../src/core/units.ts';
import { OWNER, PGC, PGT } from '../../src/xen/mm/page-info.ts';
import type { XenPv } from '../../src/xen/pv/pv.ts';

/** A reference: of the frame's type where `type` is one of PGT, and general where `general`. */
export interface HeldReference {
  readonly frame: MachineFrame;
  readonly type: number;
  /** False for a page of Xen's heap, whose type is counted and whose one general reference is its allocation. */
  readonly general: boolean;
  /** Who holds it, for messages. */
  readonly holder: string;
}

/** Every reference that `pv` holds; a frame may be listed more than once. */
export function* heldReferences(pv: XenPv): Generator<HeldReference> {
  const { frames, state, layout } = pv.mm.domain;
  const held = (frame: MachineFrame, type: number, holder: string): HeldReference => ({
    frame,
    type,
    general: true,
    holder,
  });
  for (const [id, v] of pv.vcpus.entries()) {
    if (v.kernelTable !== 0) yield held(v.kernelTable, PGT.l4, `kernel root of vCPU ${id}`);
    if (v.userTable !== 0) yield held(v.userTable, PGT.l4, `user root of vCPU ${id}`);
    for (const frame of v.gdtFrames) yield held(frame, PGT.segDesc, `GDT of vCPU ${id}`);
    for (const frame of state.ldtPages[id]!) if (frame !== 0) yield held(frame, PGT.segDesc, `LDT of vCPU ${id}`);
    if (v.infoRegistered) yield held(Math.floor(v.infoAddress / 4096), PGT.writable, `vcpu_info of vCPU ${id}`);
  }
  if (pv.domain.pirqEoiFrame !== 0) yield held(pv.domain.pirqEoiFrame, PGT.writable, 'pirq_eoi map');
  for (const { frame, device } of pv.backends) yield held(frame, PGT.writable, `back end of ${device.id}`);
  for (let frame = layout.heapBase; frame < layout.heapBase + layout.heapPages; frame++)
    if (frames.owner(frame) === OWNER.domain && frames.count(frame) & PGC.xenHeap)
      yield { frame, type: PGT.writable, general: false, holder: "Xen's heap" };
}
