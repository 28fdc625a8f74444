/**
 * console_io (18): (cmd, count, buffer). Early output before the ring is up. Xen keeps the read to the domain that owns its
 * console; here a guest may read what is typed, since its console is all there is.
 */
import { ERRNO } from '../abi/errno.ts';
import { CONSOLEIO } from '../abi/numbers.ts';
import type { Hypercall } from './call.ts';

/** Bytes copied at a time: a fault behind them leaves them written, as on Xen. */
const CHUNK_BYTES = 127;

export const consoleIo: Hypercall = (call) => {
  const { pv, cpu } = call;
  const count = call.u32(1);
  switch (call.u32(0)) {
    case CONSOLEIO.write:
      for (let done = 0; done < count; done += CHUNK_BYTES) {
        const bytes = pv.guest.read(cpu, call.ptr(2) + BigInt(done), Math.min(count - done, CHUNK_BYTES));
        if (bytes === null) return -ERRNO.EFAULT;
        pv.console.output(bytes);
      }
      return 0;
    case CONSOLEIO.read: {
      if (count > 0x7fffffff) return -ERRNO.E2BIG;
      const bytes = pv.console.peekInput(count);
      if (!pv.guest.write(cpu, call.ptr(2), bytes)) return -ERRNO.EFAULT;
      pv.console.dropInput(bytes.length);
      return bytes.length;
    }
    default:
      return -ERRNO.ENOSYS;
  }
};
