/** set_debugreg (8) and get_debugreg (9). */
import { ERRNO } from '../abi/errno.ts';
import type { Hypercall } from './call.ts';

export const setDebugRegister: Hypercall = (call) => call.pv.setDebugRegister(call.cpu, call.u32(0), call.args[1]!);

/** The value, or -EINVAL for a register that does not exist (DR4 and DR5 only without CR4.DE). */
export const getDebugRegister: Hypercall = (call) => {
  const register = call.u32(0);
  const de = (call.pv.vcpus[call.cpu.id]!.cr4 & 8n) !== 0n;
  if (register > 7 || (de && (register === 4 || register === 5))) return -ERRNO.ENODEV;
  return call.pv.debugRegister(call.cpu, register);
};
