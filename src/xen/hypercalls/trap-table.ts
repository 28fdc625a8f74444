/** set_trap_table (0): (list of trap_info), D-31, A-24. An entry with address 0 ends the list; no list clears the table. */
import { plus } from '../../core/words.ts';
import { ERRNO } from '../abi/errno.ts';
import { AMD64 } from '../abi/structures.ts';
import { newTrapTable } from '../pv/vcpu.ts';
import { goesOnWith } from '../work.ts';
import type { Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

export const setTrapTable: Hypercall = (call) => {
  const { pv, cpu, vcpu } = call;
  if (call.ptr(0) === 0n) {
    vcpu.traps = newTrapTable();
    pv.work.charge(vcpu.traps.length);
    return 0;
  }
  for (let at = call.ptr(0); ; ) {
    const entry = pv.guest.struct(cpu, at, AMD64.trapInfo);
    if (entry === null) return -ERRNO.EFAULT;
    const address = entry.u64('address');
    if (address === 0n) return 0;
    if (!canonicalAddress(address)) return -ERRNO.EINVAL;
    vcpu.traps[entry.u8('vector')] = { flags: entry.u8('flags'), cs: entry.u16('cs') | 3, address };
    at = plus(at, AMD64.trapInfo.bytes);
    if (pv.work.isSpent) return goesOnWith(at);
  }
};
