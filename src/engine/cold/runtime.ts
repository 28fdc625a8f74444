/** Functions that generated modules share as text: the code-TLB lookup behind every jump that leaves its page. */
import { EXEC_OFFSET } from '../../memory/layout.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import { SEG, STATE } from '../../x86/state.ts';
import { pushCodeEntry } from '../tlb-entry.ts';
import { FunctionBody, type Signature } from '../wasm/encoder.ts';
import type { ModuleBuilder } from '../wasm/module.ts';
import { EXIT } from './exits.ts';

/** (vCPU state, record) -> next record, or an exit. */
export const HANDLER_SIGNATURE: Signature = { params: ['i32', 'i32'], results: ['i32'] };
/** (vCPU state, low word, high word, bytes and flags) -> address in linear memory, or 0. */
export const SLOW_SIGNATURE: Signature = { params: ['i32', 'i32', 'i32', 'i32'], results: ['i32'] };
/** (vCPU state) -> 1 when a page-table entry has changed. */
export const COMMIT_SIGNATURE: Signature = { params: ['i32'], results: ['i32'] };
/** (vCPU state, first block, steps left) -> next record, or an exit; the steps left then are in `budget`. */
export const REGION_SIGNATURE: Signature = { params: ['i32', 'i32', 'i32'], results: ['i32'] };
/** The `imm2` of a record that enters a region: index of its function, block number in the low bits. */
export const BLOCK_BITS = 12;
const JUMP_SIGNATURE: Signature = { params: ['i32', 'i64'], results: ['i32'] };

/**
 * Adds the function (vCPU state, rip) -> record of rip with `pageBase` set, or `EXIT.lookup` with `rip` set.
 * `legacy`: outside 64-bit mode, where the linear address is rip plus the code segment's base, 32 bits wide.
 */
export function addJump(module: ModuleBuilder, legacy: boolean): number {
  const f = new FunctionBody(JUMP_SIGNATURE);
  jumpTo(f, 1, legacy);
  return module.add(f);
}
/** Ends a function whose first parameter is the vCPU state with what {@link addJump} makes of the rip in the local `rip`. */
export function jumpTo(f: FunctionBody, rip: number, legacy: boolean): void {
  const CPU = 0;
  const entry = f.local('i32');
  const record = f.local('i32');
  const segmentBase = STATE.segmentBase.offset + SEG.cs * 8;
  let linear = rip;
  if (legacy) {
    linear = f.local('i64');
    f.get(rip).i64(0xffffffffn).op('i64.and').set(rip);
    f.get(rip).get(CPU).memory('i64.load', segmentBase).op('i64.add').i64(0xffffffffn).op('i64.and').set(linear);
  }
  f.block();
  pushCodeEntry(f, linear);
  f.get(CPU).memory('i32.load', STATE.tlbBase.offset).op('i32.add').tee(entry);
  f.memory('i64.load', EXEC_OFFSET + EXEC_ENTRY.tag)
    .get(linear)
    .i64(-4096n)
    .op('i64.and')
    .op('i64.ne')
    .seldom()
    .brIf(0);
  f.get(linear).op('i32.wrap_i64').i32(4095).op('i32.and').i32(2).op('i32.shl');
  f.get(entry)
    .memory('i32.load', EXEC_OFFSET + EXEC_ENTRY.code)
    .op('i32.add')
    .memory('i32.load', 0)
    .tee(record)
    .op('i32.eqz')
    .seldom()
    .brIf(0);
  f.get(CPU).get(linear).i64(-4096n).op('i64.and');
  if (legacy) f.get(CPU).memory('i64.load', segmentBase).op('i64.sub');
  f.memory('i64.store', STATE.pageBase.offset).get(record).return();
  f.end();
  f.get(CPU).get(rip).memory('i64.store', STATE.rip.offset).i32(EXIT.lookup).return();
}
