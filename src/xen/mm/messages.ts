/**
 * Xen's console lines. The wording, and the line of source in front of it, are those of a debug build of Xen 4.17: failure
 * reports on the net quote them, so a guest that dies here can be searched for.
 */
import type { MachineFrame } from '../../core/units.ts';
import { DOMID } from '../abi/numbers.ts';
import type { Domain } from '../domain.ts';
import { getM2p } from './m2p.ts';
import { OWNER } from './page-info.ts';

/** A line of gdprintk: where in Xen's source, which vCPU, what. `where` is "file:line" in 4.17. */
export function gdprintk(d: Domain, where: string, text: string): void {
  d.log(`(XEN) ${where}:d${d.id}v${d.host.vcpu} ${text}`);
}
/** A line of gprintk, which names no source line. */
export function gprintk(d: Domain, text: string): void {
  d.log(`(XEN) d${d.id}v${d.host.vcpu} ${text}`);
}
/** A frame number as Xen prints it (PRI_mfn): hex, at least five digits. */
export const frameText = (mfn: number | bigint): string => mfn.toString(16).padStart(5, '0');
/** "mfn %05lx (pfn %05lx)", the pfn as the M2P has it. */
export const mfnAndPfn = (d: Domain, mfn: MachineFrame): string =>
  `mfn ${frameText(mfn)} (pfn ${frameText(getM2p(d, mfn))})`;
/** `#x` of Xen's printf. */
export const hexText = (value: number): string => `0x${(value >>> 0).toString(16)}`;
/** An owner as "%pd" prints it. */
export const ownerText = (d: Domain, owner: number): string =>
  owner === OWNER.domain ? `d${d.id}` : owner === OWNER.xen ? 'd[XEN]' : owner === OWNER.io ? 'd[IO]' : 'NULL';
/** An owner's domain id as "d%d" prints it. */
export const ownerId = (d: Domain, owner: number): number =>
  owner === OWNER.domain ? d.id : owner === OWNER.xen ? DOMID.XEN : owner === OWNER.io ? DOMID.IO : -1;
