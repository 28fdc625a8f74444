/**
 * console_io (18): (cmd, count, buffer). Early output before the ring is up. Xen keeps the read to the domain that owns its
 * console; here a guest may read what is typed, since its console is all there is.
 */
import { plus } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { CONSOLEIO } from '../abi/numbers.ts';
import { goesOnWith } from '../work.ts';
import type { Call, CallResult, Hypercall } from './call.ts';

/** Bytes copied at a time: a fault behind them leaves them written, as on Xen. */
const CHUNK_BYTES = 127;

export const consoleIo: Hypercall = (call) => {
  switch (call.u32(0)) {
    case CONSOLEIO.write:
      return write(call);
    case CONSOLEIO.read:
      return read(call);
    default:
      return -ERRNO.ENOSYS;
  }
};

function write(call: Call): CallResult {
  const { pv, cpu } = call;
  let at = call.ptr(2);
  for (let left = call.u32(1); left > 0; ) {
    const bytes = pv.guest.read(cpu, at, Math.min(left, CHUNK_BYTES));
    if (bytes === null) return -ERRNO.EFAULT;
    pv.console.output(bytes);
    left -= bytes.length;
    at = plus(at, bytes.length);
    if (left > 0 && pv.work.isSpent) return goesOnWith(CONSOLEIO.write, left, at);
  }
  return 0;
}

function read(call: Call): CallResult {
  const { pv, cpu } = call;
  const count = call.u32(1);
  if (count > 0x7fffffff) return -ERRNO.E2BIG;
  const bytes = pv.console.peekInput(count);
  if (!pv.guest.write(cpu, call.ptr(2), bytes)) return -ERRNO.EFAULT;
  pv.console.dropInput(bytes.length);
  return bytes.length;
}
