/** console_io (18): 0 write (count, buffer), 1 read. Early output before the ring is up. */
import { ERRNO } from '../abi/errno.ts';
import type { Hypercall } from './call.ts';

export const consoleIo: Hypercall = (call) => {
  const { pv, cpu } = call;
  const count = call.u32(1);
  switch (call.u32(0)) {
    case 0: {
      const bytes = pv.guest.read(cpu, call.ptr(2), Math.min(count, 1 << 20));
      if (bytes === null) return -ERRNO.EFAULT;
      pv.console.output(bytes);
      return 0;
    }
    case 1: {
      const bytes = pv.console.takeInput(Math.min(count, 4096));
      if (bytes.length > 0 && !pv.guest.write(cpu, call.ptr(2), bytes)) return -ERRNO.EFAULT;
      return bytes.length;
    }
    default:
      return -ERRNO.ENOSYS;
  }
};
