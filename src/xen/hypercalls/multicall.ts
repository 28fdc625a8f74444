/** multicall (13): (list, count) of {u64 op, u64 result, u64 args[6]}. Atomic; nesting is refused. */
import { isStop } from '../../x86/seam.ts';
import { ERRNO } from '../abi/errno.ts';
import { type Hypercall, makeCall } from './call.ts';
import { hypercallRow } from './table.ts';

const ENTRY_BYTES = 64;

export const multicall: Hypercall = (call) => {
  const { pv, cpu } = call;
  const count = call.u32(1);
  for (let i = 0; i < count; i++) {
    const at = BigInt.asUintN(64, call.ptr(0) + BigInt(i * ENTRY_BYTES));
    const entry = pv.guest.view(cpu, at, ENTRY_BYTES);
    if (entry === null) return -ERRNO.EFAULT;
    const number = Number(entry.getBigUint64(0, true) & 0xffffffffn);
    const args = [2, 3, 4, 5, 6, 7].map((w) => entry.getBigUint64(w * 8, true));
    const row = hypercallRow(number);
    let result: number | bigint;
    if (row === undefined) result = -ERRNO.ENOSYS;
    else if (number === 13) {
      pv.log(`d${pv.domainId}v${cpu.id} Multicall reentry is disallowed.`);
      result = -ERRNO.EINVAL;
    } else {
      const answer = row.run(makeCall(pv, cpu, args));
      if (isStop(answer)) return answer;
      // iret in a multicall has loaded the registers; its RAX is the entry's result.
      result = answer ?? 0;
    }
    pv.traceHypercall(cpu, 'M', number, args, result);
    if (!pv.guest.writeU64(cpu, at + 8n, BigInt.asUintN(64, BigInt(result)))) return -ERRNO.EFAULT;
  }
  return 0;
};
