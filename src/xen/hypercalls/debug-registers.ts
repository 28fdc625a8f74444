/** set_debugreg (8) and get_debugreg (9): (register, value). */
import { debugRegister, setDebugRegister } from '../pv/registers.ts';
import type { Hypercall } from './call.ts';

export const setDebugreg: Hypercall = (call) => setDebugRegister(call.vcpu, call.cpu, call.u32(0), call.ptr(1));

/** The value, or -ENODEV for a register that does not exist. */
export const getDebugreg: Hypercall = (call) => debugRegister(call.vcpu, call.u32(0));
