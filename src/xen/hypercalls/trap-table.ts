/** set_trap_table (0): D-31, A-24. Entries are {u8 vector, u8 flags, u16 cs, u32 pad, u64 address}; address 0 ends the list. */
import { ERRNO } from '../abi/errno.ts';
import type { Hypercall } from './call.ts';
import { canonicalAddress } from './checks.ts';

const ENTRY_BYTES = 16;

export const setTrapTable: Hypercall = ({ pv, cpu, args }) => {
  const { traps } = pv.vcpus[cpu.id]!;
  let at = args[0]!;
  if (at === 0n) {
    for (let vector = 0; vector < 256; vector++) traps[vector] = { flags: 0, cs: 0, address: 0n };
    return 0;
  }
  for (;;) {
    const entry = pv.guest.view(cpu, at, ENTRY_BYTES);
    if (entry === null) return -ERRNO.EFAULT;
    const address = entry.getBigUint64(8, true);
    if (address === 0n) return 0;
    if (!canonicalAddress(address)) return -ERRNO.EINVAL;
    traps[entry.getUint8(0)] = { flags: entry.getUint8(1), cs: entry.getUint16(2, true) | 3, address };
    at += BigInt(ENTRY_BYTES);
  }
};
