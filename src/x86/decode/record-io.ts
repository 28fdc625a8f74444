/** Writes the 64-byte decoded record of record.ts. */
import type { Insn } from '../form.ts';
import { RECORD } from '../record.ts';

/** Writes `insn` at byte `at` of `view`; `handler` is the index of its form in the dispatch table. The link is cleared. */
export function writeRecord(view: DataView, at: number, insn: Insn, handler: number): void {
  view.setInt32(at + RECORD.handler, handler, true);
  view.setInt32(at + RECORD.place, insn.pageOffset | (insn.length << 16), true);
  view.setInt32(at + RECORD.r, insn.r, true);
  view.setInt32(at + RECORD.m, insn.m, true);
  view.setInt32(at + RECORD.base, insn.base, true);
  view.setInt32(at + RECORD.index, insn.index, true);
  view.setInt32(at + RECORD.scale, insn.scale, true);
  view.setInt32(at + RECORD.seg, insn.seg, true);
  view.setBigInt64(at + RECORD.disp, insn.disp, true);
  view.setBigInt64(at + RECORD.imm, insn.imm, true);
  view.setInt32(at + RECORD.link, 0, true);
  view.setInt32(at + RECORD.attr, insn.attr, true);
  view.setInt32(at + RECORD.imm2, insn.imm2, true);
  view.setInt32(at + RECORD.next, insn.pageOffset + insn.length, true);
}
