/** Verdicts as a person reads them. Apart from what records, so that a disassembler is loaded only where one is needed. */
import { hex, type VirtAddr } from '../core/units.ts';
import type { Verdict } from '../x86/seam.ts';
import { Disassembler } from './disassembly.ts';

/** What the engine says of an instruction outside its scope: it knows the bytes there, and no names. */
const BYTES = /^(instruction not implemented at 0x[0-9a-f]+): ([0-9a-f]{2}(?: [0-9a-f]{2})*)$/;

/** The verdict with the instruction in place of its bytes, where there is a name for it. */
export function toldVerdict(verdict: Verdict, rip: VirtAddr, bits: 64 | 32 | 16): Verdict {
  const match = BYTES.exec(verdict.message);
  if (verdict.kind !== 'unimplemented' || match === null || !match[1]!.endsWith(hex(rip))) return verdict;
  const bytes = Uint8Array.from(match[2]!.split(' '), (byte) => Number(`0x${byte}`));
  const found = new Disassembler({ lookup: () => null }).decode(bytes, rip, bits);
  return found === null ? verdict : { kind: verdict.kind, message: `${match[1]}: ${found.text}` };
}
