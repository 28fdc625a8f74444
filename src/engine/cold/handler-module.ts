/** Modules of handlers: their bytes, and what they are instantiated with. */
import { assert } from '../../core/assert.ts';
import type { Program } from '../../ir/program.ts';
import type { Form } from '../../x86/form.ts';
import { HELPERS, type Helper } from '../../x86/helpers.ts';
import { FunctionBody } from '../wasm/encoder.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { addRun, CONTAINED_SIGNATURE, type Contained, type Core } from './core.ts';
import { REGION_TABLE_SIZE, TABLE_SIZE } from './exits.ts';
import { helperImport, helperSignature } from './helper-import.ts';
import { type Addressing, writeHandler } from './lower.ts';
import { COMMIT_SIGNATURE, HANDLER_SIGNATURE, SLOW_SIGNATURE } from './runtime.ts';

/** What generated handlers call outside Wasm. */
interface SlowPaths {
  readonly slowLoad: (base: number, lo: number, hi: number, spec: number) => number;
  readonly slowProbe: (base: number, lo: number, hi: number, spec: number) => number;
  readonly commitScratch: (base: number) => number;
}
/** (vCPU state, low word, high word, spec) -> 1, or 0 with the fault in the vCPU state. */
export type CheckAccess = (base: number, lo: number, hi: number, spec: number) => number;

/** A form as a handler executes it. */
export interface HandlerKind {
  /** Its form, addressing and whether it checks, as {@link keyOf} writes them. */
  readonly key: string;
  readonly program: Program;
  readonly addressing: Addressing;
  readonly checked: boolean;
}

/** Names a handler. */
export const keyOf = (form: Form, addressing: Addressing, checked: boolean): string =>
  `${form.key} ${addressing}${checked ? ' checked' : ''}`;

const helperOf = (name: string): Helper => {
  const helper = HELPERS[name];
  assert(helper, `no helper ${name}`);
  return helper;
};

/**
 * A module that puts handlers into the dispatch table of any machine, from index `first` on. They are exported, so that a host can ask
 * whether they have been optimized. With a loop, that is exported instead, as `run`, and has the first so many of them in line.
 */
export function handlerModule(
  first: number,
  kinds: readonly HandlerKind[],
  loop: { readonly inline: number; readonly measured: boolean } | null = null,
): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory('e', 'm', null);
  const slowLoad = module.importFunction('e', 'slowLoad', SLOW_SIGNATURE);
  const slowProbe = module.importFunction('e', 'slowProbe', SLOW_SIGNATURE);
  const commitScratch = module.importFunction('e', 'commitScratch', COMMIT_SIGNATURE);
  const checkAccess = module.importFunction('e', 'checkAccess', SLOW_SIGNATURE);
  const contained = loop === null ? 0 : module.importFunction('e', 'contained', CONTAINED_SIGNATURE);
  const helpers = new Map<string, number>();
  for (const { program } of kinds) {
    for (const node of program.body) {
      if (node.op !== 'call' || helpers.has(node.helper)) continue;
      helpers.set(node.helper, module.importFunction('h', node.helper, helperSignature(helperOf(node.helper))));
    }
  }
  const type = module.type(HANDLER_SIGNATURE);
  const handlerTable = module.importTable('e', 't', TABLE_SIZE, type);
  const write = (f: FunctionBody, { program, addressing, checked }: HandlerKind): void =>
    writeHandler(f, program, addressing, {
      checkAccess: checked ? checkAccess : null,
      slowLoad,
      slowProbe,
      commitScratch,
      helper: (name) => helpers.get(name)!,
    });
  if (loop !== null) {
    const regionTable = module.importTable('e', 'r', REGION_TABLE_SIZE);
    const inline = kinds.slice(0, loop.inline).map((kind) => (f: FunctionBody) => write(f, kind));
    addRun(module, { contained, handlerTable, regionTable, measured: loop.measured, inline });
  }
  const functions = kinds.map((kind) => {
    const f = new FunctionBody(HANDLER_SIGNATURE);
    write(f, kind);
    return module.add(f, kind.key, loop === null);
  });
  module.fill(type, first, functions);
  return module.encode();
}

/** What modules of handlers are instantiated with. */
export function handlerImports(
  memory: WebAssembly.Memory,
  { table, regions }: Core,
  { slowLoad, slowProbe, commitScratch }: SlowPaths,
  checkAccess: CheckAccess,
  contained: Contained,
): WebAssembly.Imports {
  const helpers = Object.entries(HELPERS).map(([name, helper]) => [name, helperImport(helper)] as const);
  return {
    e: { m: memory, t: table, r: regions, slowLoad, slowProbe, commitScratch, checkAccess, contained },
    h: Object.fromEntries(helpers),
  };
}
