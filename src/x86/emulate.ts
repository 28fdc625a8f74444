/**
 * Runs one decoded instruction on a vCPU through the evaluator: the oracle of the tests, and how a hypervisor emulates
 * a store that it must validate (the {@link LinearMemory} given decides about every access).
 *
 * It moves `rip` and nothing else of the engine's bookkeeping: no step count, no interrupt shadow, no trap flag.
 */

import { assert } from '../core/assert.ts';
import { type AccessHints, type Completion, type Environment, evaluate } from '../ir/evaluate.ts';
import type { FieldName } from '../ir/program.ts';
import { accessFault, transferFault } from './checks.ts';
import type { Cpu, LinearMemory } from './cpu.ts';
import type { Insn } from './form.ts';
import { HELPERS } from './helpers.ts';
import { ATTR, segmentNumberOf } from './record.ts';
import { type Fault, fault, isFault } from './seam.ts';
import { programOf } from './semantics/registry.ts';
import { SEG } from './state.ts';

/** Address size in bits by the low bits of `attr`. */
const ADDRESS_BITS = [64, 32, 16] as const;

/** What a program sees of `cpu` while it runs `insn` at `cpu.rip`, with accesses going to `memory`. */
export function environmentOf(cpu: Cpu, insn: Insn, memory: LinearMemory = cpu.memory): Environment<Fault> {
  const narrow = (insn.attr & ATTR.linear32) !== 0;
  const ripOf = (linear: bigint): bigint => BigInt.asUintN(insn.mode === 2 ? 64 : 32, linear - codeBase);
  const codeBase = insn.mode === 2 ? 0n : cpu.get('segmentBase', SEG.cs);
  const pageBase = BigInt.asUintN(narrow ? 32 : 64, codeBase + cpu.rip) - BigInt(insn.pageOffset);
  const at = (offset: number): bigint => cpu.view.getBigUint64(cpu.base + offset, true);
  const effective = (delta: bigint): bigint =>
    BigInt.asUintN(
      ADDRESS_BITS[insn.attr & ATTR.addressMask]!,
      at(insn.base) + (at(insn.index) << BigInt(insn.scale)) + insn.disp + delta,
    );
  const nextRip = (): bigint => ripOf(pageBase + BigInt(insn.pageOffset + insn.length));
  const operandSegment = segmentNumberOf(insn);
  /** What is no operand is an implicit stack access, or the destination of a string instruction. */
  const segmentOf = ({ operand, stack }: AccessHints): number => (operand ? operandSegment : stack ? SEG.ss : SEG.es);
  // RIP-relative operands read their base from the state.
  cpu.set('pageBase', pageBase);
  return {
    view: cpu.view,
    base: cpu.base,
    field: (name: FieldName) => (name === 'next' ? BigInt(insn.pageOffset + insn.length) : BigInt(insn[name])),
    offset: () => effective(0n),
    linear: (delta) => BigInt.asUintN(narrow ? 32 : 64, effective(delta) + at(insn.seg)),
    operandInStack: (insn.attr & ATTR.stack) !== 0,
    access: (address, bytes, write, hints) => accessFault(cpu, segmentOf(hints), address, bytes, write),
    nextRip,
    targetRip: () => ripOf(pageBase + insn.imm),
    load(address, width, hints) {
      const loaded = memory.load(cpu, address, width, hints);
      return isFault(loaded) ? { fault: loaded } : { value: loaded };
    },
    probe(address, bytes, hints) {
      const probed = memory.probe(cpu, address, bytes, hints);
      return probed === null ? { value: null } : { fault: probed };
    },
    peek(address, width) {
      const old = memory.load(cpu, address, width);
      assert(!isFault(old), 'a probed address is readable');
      return old;
    },
    store(address, width, value) {
      const stored = memory.store(cpu, address, width, value);
      return stored === null ? { value: null } : { fault: stored };
    },
    transfer: (rip) => transferFault(cpu, rip),
    fault: (vector, error) => fault(vector, error),
    helper(name, args) {
      const helper = HELPERS[name];
      assert(helper, `no helper ${name}`);
      return helper.evaluate(...args);
    },
  };
}

/**
 * Executes `insn` at `cpu.rip`: one instruction, or one REP iteration. Null when it retired (a repeating instruction leaves
 * `rip` where it was), else the fault, with the vCPU unchanged unless the instruction faults after committing. The form must have semantics.
 */
export function emulate(
  cpu: Cpu,
  insn: Insn,
  memory: LinearMemory = cpu.memory,
  program = programOf(insn.form),
): Fault | null {
  assert(program, `${insn.form.key} has no semantics`);
  const env = environmentOf(cpu, insn, memory);
  const next = env.nextRip();
  const completion: Completion<Fault> = evaluate(program, env);
  switch (completion.kind) {
    case 'fault':
      return completion.fault;
    case 'next':
      cpu.rip = next;
      return null;
    case 'jump':
      cpu.rip = completion.rip;
      return null;
    case 'repeat':
      return null;
  }
}
