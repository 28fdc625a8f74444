/** The BigInt evaluator of our semantics as a CPU under test: decoder, micro-ops and evaluator, without engine or MMU. */
import { assert } from '../../src/core/assert.ts';
import { fetchRoom } from '../../src/x86/checks.ts';
import { codeKey, stackSizeOf } from '../../src/x86/code-key.ts';
import { Cpu } from '../../src/x86/cpu.ts';
import { decode } from '../../src/x86/decode/decode.ts';
import { emulate } from '../../src/x86/emulate.ts';
import type { CodeMode, Insn } from '../../src/x86/form.ts';
import { type Fault, fault, isStop } from '../../src/x86/seam.ts';
import { SEMANTICS } from '../../src/x86/semantics/registry.ts';
import { STATE_BYTES, VECTOR } from '../../src/x86/state.ts';
import { executeSystem, SYSTEM } from '../../src/x86/system/execute.ts';
import { CaseMemory } from './case-memory.ts';
import { CatchingPlatform } from './catching-platform.ts';
import type { CpuUnderTest } from './compare.ts';
import { type DataPage, loadState, saveOutcome } from './guest.ts';
import { fillPage } from './random.ts';
import { CASE_STEP, type CaseRecord, CODE_BASE, type OutcomeRecord, PAGE, RO_SEED } from './records.ts';

const LONGEST = 15;

/** Runs cases by {@link emulate}. */
export class OracleCpu implements CpuUnderTest {
  readonly name = 'oracle';
  readonly #memory = new CaseMemory();
  readonly #cpu: Cpu;
  readonly #before = new Uint32Array(PAGE / 4);
  readonly #page: DataPage;
  readonly #platform = new CatchingPlatform();

  constructor() {
    this.#cpu = new Cpu(new DataView(new ArrayBuffer(STATE_BYTES)), 0, 0, this.#memory);
    this.#page = { before: this.#before, now: new Uint32Array(this.#memory.data.buffer) };
    fillPage(new Uint32Array(this.#memory.readOnly.buffer), RO_SEED);
  }

  run(record: CaseRecord, outcome: OutcomeRecord): 'done' | 'unimplemented' {
    const memory = this.#memory;
    memory.mode = record.mode;
    memory.code.fill(0xcc);
    memory.code.set(record.code.subarray(0, PAGE - record.codeOffset), record.codeOffset);
    fillPage(this.#before, record.memorySeed);
    new Uint8Array(this.#before.buffer).set(record.poke, record.pokeOffset);
    memory.data.set(new Uint8Array(this.#before.buffer));
    loadState(this.#cpu, record);
    const end = this.#execute(record);
    if (end === 'unimplemented') return end;
    saveOutcome(this.#cpu, this.#page, record, end, outcome);
    return 'done';
  }

  /** A trap that the instruction delivers itself leaves `rip` behind it. */
  #system(insn: Insn): Fault | null {
    const outcome = executeSystem(this.#cpu, insn, this.#platform);
    const delivered = this.#platform.take();
    if (delivered !== null) {
      this.#cpu.rip = delivered.rip;
      return delivered.event;
    }
    assert(!isStop(outcome), 'a case stops only where something is delivered');
    return outcome;
  }

  /** The fault of fetching the INT3 behind the code: it has to be in the code segment as well. */
  #behind(): Fault | null {
    return fetchRoom(this.#cpu) === 0 ? fault(VECTOR.gp) : null;
  }

  #execute(record: CaseRecord): Fault | null | 'unimplemented' {
    const cpu = this.#cpu;
    const start = cpu.rip;
    const available = Math.min(LONGEST, PAGE - record.codeOffset);
    const mode = cpu.num('codeMode') as CodeMode;
    const room = fetchRoom(cpu);
    const stackSize = stackSizeOf(codeKey(cpu));
    const { codeOffset } = record;
    const bytes = Math.min(available, room);
    const insn = decode(this.#memory.code, codeOffset, bytes, codeOffset, mode, 'x86-64-v2', stackSize);
    if (insn === 'short')
      return room <= available ? fault(VECTOR.gp) : this.#memory.fetchFault(BigInt(CODE_BASE + PAGE));
    if (insn === 'invalid') return fault(VECTOR.ud);
    if (insn === 'long') return fault(VECTOR.gp);
    if (insn === 'outside') return 'unimplemented';
    if (insn.form.system && !(insn.form.name in SYSTEM)) return 'unimplemented';
    if (insn.form.system) return this.#system(insn) ?? (record.flags & CASE_STEP ? null : this.#behind());
    if (!(insn.form.name in SEMANTICS)) return 'unimplemented';
    for (;;) {
      const failed = emulate(cpu, insn);
      if (failed !== null) return failed;
      if (record.flags & CASE_STEP) return null;
      if (cpu.rip !== start) return this.#behind();
    }
  }
}
