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
/** What has been copied and not been put out yet: a whole number of chunks. */
const TEXT = new Uint8Array(32 * CHUNK_BYTES);

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
  let left = call.u32(1);
  let filled = 0;
  let result: CallResult = 0;
  while (left > 0) {
    const chunk = TEXT.subarray(filled, filled + Math.min(left, CHUNK_BYTES));
    if (!pv.guest.readInto(cpu, at, chunk)) {
      result = -ERRNO.EFAULT;
      break;
    }
    filled += chunk.length;
    left -= chunk.length;
    at = plus(at, chunk.length);
    if (left > 0 && pv.work.isSpent) {
      result = goesOnWith(CONSOLEIO.write, left, at);
      break;
    }
    if (filled === TEXT.length) {
      pv.callConsole.output(TEXT.slice());
      filled = 0;
    }
  }
  pv.callConsole.output(TEXT.slice(0, filled));
  return result;
}

function read(call: Call): CallResult {
  const { pv, cpu } = call;
  const count = call.u32(1);
  if (count > 0x7fffffff) return -ERRNO.E2BIG;
  const bytes = pv.callConsole.peekInput(count);
  if (!pv.guest.write(cpu, call.ptr(2), bytes)) return -ERRNO.EFAULT;
  pv.callConsole.dropInput(bytes.length);
  return bytes.length;
}
