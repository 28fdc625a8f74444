/** Writes and reads the 64-byte decoded record of record.ts. */
import type { CodeMode, Form, Insn } from '../form.ts';
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

/** The instruction of the record at byte `at`, whose form the caller knows from the handler. */
export function readRecord(view: DataView, at: number, form: Form, mode: CodeMode): Insn {
  return {
    form,
    mode,
    pageOffset: view.getUint16(at + RECORD.place, true),
    length: view.getUint8(at + RECORD.place + 2),
    r: view.getInt32(at + RECORD.r, true),
    m: view.getInt32(at + RECORD.m, true),
    base: view.getInt32(at + RECORD.base, true),
    index: view.getInt32(at + RECORD.index, true),
    scale: view.getInt32(at + RECORD.scale, true),
    seg: view.getInt32(at + RECORD.seg, true),
    disp: view.getBigInt64(at + RECORD.disp, true),
    imm: view.getBigInt64(at + RECORD.imm, true),
    imm2: view.getInt32(at + RECORD.imm2, true),
    attr: view.getInt32(at + RECORD.attr, true),
  };
}
