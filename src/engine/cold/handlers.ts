/**
 * Handlers by form: generated when a form is first decoded, compiled a module at a time.
 *
 * Invariant: an index that {@link Handlers.indexOf} gave is in the dispatch table after {@link Handlers.compile}.
 */
import { assert } from '../../core/assert.ts';
import type { Program } from '../../ir/program.ts';
import { type CodeKey, KEY } from '../../x86/code-key.ts';
import type { Form, Insn } from '../../x86/form.ts';
import type { Helper } from '../../x86/helpers.ts';
import { ATTR, operandInCode, segmentNumberOf } from '../../x86/record.ts';
import { SEG, STATE } from '../../x86/state.ts';
import type { Instantiate } from '../code-host.ts';
import { ModuleBuilder } from '../wasm/encoder.ts';
import { HANDLER, TABLE_SIZE } from './exits.ts';
import { helperImport, helperSignature } from './helper-import.ts';
import { ADDRESSING, type Addressing, dependsOnAddressing, lowerHandler } from './lower.ts';
import { COMMIT_SIGNATURE, HANDLER_SIGNATURE, SLOW_SIGNATURE } from './runtime.ts';

/** What generated handlers call outside Wasm. */
export interface SlowPaths {
  readonly slowLoad: (base: number, lo: number, hi: number, spec: number) => number;
  readonly slowProbe: (base: number, lo: number, hi: number, spec: number) => number;
  readonly commitScratch: (base: number) => number;
}
/** (vCPU state, low word, high word, spec) -> 1, or 0 with the fault in the vCPU state. */
export type CheckAccess = (base: number, lo: number, hi: number, spec: number) => number;

interface Entry {
  readonly index: number;
  readonly program: Program;
  readonly addressing: Addressing;
  readonly checked: boolean;
}

/** How a form continues, as the decoder's run needs to know it. */
export interface FormInfo {
  readonly program: Program | null;
  /** Nothing follows: an unconditional jump or a system instruction. */
  readonly ends: boolean;
  /** A relative branch, whose target can be linked. */
  readonly branches: boolean;
  readonly addressed: boolean;
  /** It writes its memory operand. */
  readonly stores: boolean;
  /** Dispatch-table indices by {@link Addressing}, from {@link CHECKED} on of handlers that check accesses; 0 where there is none. */
  readonly handlers: Int16Array;
}

const CHECKED = 4;

const storesOperand = (program: Program): boolean =>
  program.body.some((node) => node.op === 'probe' && program.body[node.addr]!.op === 'linear');

export class Handlers {
  readonly #memory: WebAssembly.Memory;
  readonly #table: WebAssembly.Table;
  readonly #slow: SlowPaths;
  readonly #checkAccess: CheckAccess;
  readonly #programOf: (form: Form) => Program | null;
  readonly #helpers: Readonly<Record<string, Helper>>;
  readonly #instantiate: Instantiate;
  /** By number of the form. */
  readonly #forms: FormInfo[] = [];
  #pending: Entry[] = [];
  #next: number = HANDLER.firstForm;
  /** By handler index: 1 where a relative branch can be linked. */
  readonly branches = new Uint8Array(TABLE_SIZE);
  /** Modules compiled so far. */
  modules = 0;

  constructor(
    memory: WebAssembly.Memory,
    table: WebAssembly.Table,
    slow: SlowPaths,
    checkAccess: CheckAccess,
    programOf: (form: Form) => Program | null,
    helpers: Readonly<Record<string, Helper>>,
    instantiate: Instantiate,
  ) {
    this.#memory = memory;
    this.#table = table;
    this.#slow = slow;
    this.#checkAccess = checkAccess;
    this.#programOf = programOf;
    this.#helpers = helpers;
    this.#instantiate = instantiate;
  }

  /** Handlers generated so far. */
  get count(): number {
    return this.#next - HANDLER.firstForm;
  }

  info(form: Form): FormInfo {
    let info = this.#forms[form.id];
    if (info === undefined) {
      const program = form.system ? null : this.#programOf(form);
      const last = program?.commits.at(-1);
      info = {
        program,
        ends: form.system || last?.op === 'jump' || (last?.op === 'branch' && last.cond === null),
        branches: last?.op === 'branch',
        addressed: program !== null && dependsOnAddressing(program),
        stores: program !== null && storesOperand(program),
        handlers: new Int16Array(2 * CHECKED),
      };
      this.#forms[form.id] = info;
    }
    return info;
  }

  /** True when `insn` is checked under this key, and so executed by a handler alone; a store through CS always is. */
  isChecked(insn: Insn, key: CodeKey): boolean {
    return isChecked(insn, key) || (operandInCode(insn) && this.info(insn.form).stores);
  }

  /** Dispatch-table index of the handler for `insn` under a key, or -1 when its form has no semantics. */
  indexOf(insn: Insn, key: CodeKey): number {
    if (insn.form.system) return HANDLER.system;
    const info = this.info(insn.form);
    if (info.program === null) return -1;
    const checked = this.isChecked(insn, key);
    let addressing = info.addressed ? addressingOf(insn) : ADDRESSING.flat;
    if (checked) addressing = insn.mode === 2 ? ADDRESSING.general : ADDRESSING.legacy;
    const { handlers } = info;
    const variant = addressing + (checked ? CHECKED : 0);
    if (handlers[variant] === 0) {
      assert(this.#next < TABLE_SIZE, 'the dispatch table is full');
      handlers[variant] = this.#next;
      if (info.branches) this.branches[this.#next] = 1;
      this.#pending.push({ index: this.#next++, program: info.program, addressing, checked });
    }
    return handlers[variant]!;
  }

  /** Compiles what has been asked for since the last call. */
  compile(): void {
    if (this.#pending.length === 0) return;
    const entries = this.#pending;
    this.#pending = [];
    this.modules++;
    const module = new ModuleBuilder();
    module.importMemory('e', 'm', this.#memory.buffer.byteLength / 65536);
    const slowLoad = module.importFunction('e', 'slowLoad', SLOW_SIGNATURE);
    const slowProbe = module.importFunction('e', 'slowProbe', SLOW_SIGNATURE);
    const commitScratch = module.importFunction('e', 'commitScratch', COMMIT_SIGNATURE);
    const checkAccess = module.importFunction('e', 'checkAccess', SLOW_SIGNATURE);
    const helpers = new Map<string, number>();
    const imports: Record<string, WebAssembly.ImportValue> = {};
    for (const { program } of entries) {
      for (const node of program.body) {
        if (node.op !== 'call' || helpers.has(node.helper)) continue;
        const helper = this.#helpers[node.helper];
        assert(helper, `no helper ${node.helper}`);
        helpers.set(node.helper, module.importFunction('h', node.helper, helperSignature(helper)));
        imports[node.helper] = helperImport(helper);
      }
    }
    const type = module.type(HANDLER_SIGNATURE);
    module.importTable('e', 't', TABLE_SIZE, type);
    const functions = entries.map(({ index, program, addressing, checked }) => {
      const body = lowerHandler(program, addressing, {
        checkAccess: checked ? checkAccess : null,
        slowLoad,
        slowProbe,
        commitScratch,
        helper: (name) => helpers.get(name)!,
      });
      return module.add(body, String(index));
    });
    module.fill(type, entries[0]!.index, functions);
    const { slowLoad: load, slowProbe: probe, commitScratch: commit } = this.#slow;
    this.#instantiate(module.encode(), {
      e: {
        m: this.#memory,
        t: this.#table,
        slowLoad: load,
        slowProbe: probe,
        commitScratch: commit,
        checkAccess: this.#checkAccess,
      },
      h: imports,
    });
  }
}

/** True when the segments that `insn` may use are checked under this key. */
function isChecked(insn: Insn, key: CodeKey): boolean {
  if (key & KEY.checked) return true;
  const segment = insn.mode === 2 ? 0 : segmentNumberOf(insn);
  return (segment === SEG.fs && (key & KEY.fs) !== 0) || (segment === SEG.gs && (key & KEY.gs) !== 0);
}

function addressingOf(insn: Insn): Addressing {
  if (insn.mode !== 2) return ADDRESSING.legacy;
  if (insn.attr & ATTR.addressMask || insn.seg !== STATE.zero.offset) return ADDRESSING.general;
  return insn.index === STATE.zero.offset ? ADDRESSING.flat : ADDRESSING.indexed;
}
