/**
 * Handlers by form: those of the prepared module (prepared.ts) where the host has one, else generated when a form is first decoded and
 * compiled a module at a time.
 *
 * Invariant: an index that {@link Handlers.indexOf} gave is in the dispatch table after {@link Handlers.compile}.
 */
import { assert } from '../../core/assert.ts';
import type { Program } from '../../ir/program.ts';
import { type CodeKey, KEY } from '../../x86/code-key.ts';
import type { Form, Insn } from '../../x86/form.ts';
import { ATTR, operandInCode, segmentNumberOf } from '../../x86/record.ts';
import { SEG, STATE } from '../../x86/state.ts';
import type { Instantiate } from '../wasm/instantiate.ts';
import type { Core } from './core.ts';
import { HANDLER, TABLE_SIZE } from './exits.ts';
import { type HandlerKind, handlerModule, keyOf } from './handler-module.ts';
import { ADDRESSING, type Addressing, dependsOnAddressing } from './lower.ts';
import type { PreparedHandlers } from './prepared.ts';

/** What a host does for handlers. */
export interface HandlerHost {
  /** May remember what V8 made of the same bytes in an earlier process. */
  readonly instantiate: Instantiate;
  /** Handlers that have been compiled already; null where there are none. */
  readonly prepared: PreparedHandlers | null;
}

/** How a form continues, as the decoder's run needs to know it. */
interface FormInfo {
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
  readonly #imports: WebAssembly.Imports;
  readonly #programOf: (form: Form) => Program | null;
  readonly #instantiate: Instantiate;
  /** By number of the form. */
  readonly #forms: FormInfo[] = [];
  /** Dispatch-table indices of prepared handlers, by key. */
  readonly #prepared: ReadonlyMap<string, number>;
  /** The first index that is not prepared. */
  readonly #first: number;
  #pending: HandlerKind[] = [];
  #next: number;
  /** The loop that came with prepared handlers. */
  readonly run: Core['run'] | null;
  /** By handler index: what it does. */
  readonly programs: Program[] = [];
  /** By handler index: 1 where a relative branch can be linked. */
  readonly branches = new Uint8Array(TABLE_SIZE);
  /** Modules compiled so far. */
  modules = 0;

  /** `imports` as of {@link handlerImports}. */
  constructor(
    imports: WebAssembly.Imports,
    programOf: (form: Form) => Program | null,
    { instantiate, prepared }: HandlerHost,
  ) {
    this.#imports = imports;
    this.#programOf = programOf;
    this.#instantiate = instantiate;
    this.#prepared = new Map(prepared?.keys.map((key, i) => [key, HANDLER.firstForm + i]));
    this.#first = HANDLER.firstForm + this.#prepared.size;
    this.#next = this.#first;
    // its segment puts them into the table
    const loop = prepared === null ? null : new WebAssembly.Instance(prepared.module, imports).exports.run;
    this.run = (loop ?? null) as Core['run'] | null;
  }

  /** Handlers generated so far. */
  get count(): number {
    return this.#next - this.#first;
  }

  info(form: Form): FormInfo {
    let info = this.#forms[form.id];
    if (info === undefined) {
      const program = form.system ? null : this.#programOf(form);
      const last = program?.commits.at(-1);
      info = {
        program,
        ends: (form.system && !form.contained) || last?.op === 'jump' || (last?.op === 'branch' && last.cond === null),
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
      const handler = keyOf(insn.form, addressing, checked);
      const index =
        this.#prepared.get(handler) ?? this.#generate({ key: handler, program: info.program, addressing, checked });
      handlers[variant] = index;
      this.programs[index] = info.program;
      if (info.branches) this.branches[index] = 1;
    }
    return handlers[variant]!;
  }

  #generate(kind: HandlerKind): number {
    assert(this.#next < TABLE_SIZE, 'the dispatch table is full');
    this.#pending.push(kind);
    return this.#next++;
  }

  /** Compiles what has been asked for since the last call. */
  compile(): void {
    const kinds = this.#pending;
    if (kinds.length === 0) return;
    this.#pending = [];
    this.modules++;
    this.#instantiate(handlerModule(this.#next - kinds.length, kinds), this.#imports);
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
