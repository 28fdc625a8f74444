/** The way to the hypervisor of a machine, for questions that only Xen can answer. */
import { XenPv } from '../../xen/pv/pv.ts';
import type { Machine } from '../machine.ts';

/** Null where the machine has another platform. */
export const xenOf = ({ platform }: Machine): XenPv | null => (platform instanceof XenPv ? platform : null);
