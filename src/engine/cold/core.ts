/** The dispatch loop and the engine's own handlers, as one Wasm module. */
import { EXEC_OFFSET } from '../../memory/layout.ts';
import { EXEC_ENTRY } from '../../memory/tlb.ts';
import { RECORD } from '../../x86/record.ts';
import { SEG, STATE } from '../../x86/state.ts';
import { pushCodeEntry } from '../tlb-entry.ts';
import { FunctionBody, type Signature } from '../wasm/encoder.ts';
import type { Instantiate } from '../wasm/instantiate.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { EXIT, FIRST_RECORD, HANDLER, REGION_TABLE_SIZE, TABLE_SIZE } from './exits.ts';
import { addJump, BLOCK_BITS, HANDLER_SIGNATURE, REGION_SIGNATURE } from './runtime.ts';

const CPU = 0;
const REC = 1;
/** Parameters of the loop. */
const STEPS = 2;
const INDEX = 3;
const RESERVE = 4;

/** What the loop is made with. */
interface RunParts {
  /** The function that executes contained instructions ({@link CONTAINED_SIGNATURE}). */
  readonly contained: number;
  /** Number of the dispatch table, and of the table of regions. */
  readonly handlerTable: number;
  readonly regionTable: number;
  /** Counts the steps that regions take. */
  readonly measured: boolean;
  /** Write the bodies of the first handlers of forms into the loop. */
  readonly inline: ReadonlyArray<(f: FunctionBody) => void>;
}

/**
 * (vCPU state, record, steps, handler of the record, reserve) -> exit. Runs records until `steps` are used up or one leaves.
 * Steps of regions are taken from the reserve first. The record that left is in `record`, the steps left in all are in
 * `budget`, and `untilSample` is `steps` less those that no region took.
 */
export function addRun(module: ModuleBuilder, parts: RunParts): void {
  const { contained, handlerTable, regionTable, measured, inline } = parts;
  const f = new FunctionBody({ params: ['i32', 'i32', 'i32', 'i32', 'i32'], results: ['i32'] });
  const next = f.local('i32');
  /** Steps that regions have taken beyond the reserve. */
  const taken = f.local('i32');
  const handler = module.type(HANDLER_SIGNATURE);
  const leave = (): void => {
    f.get(CPU).get(REC).memory('i32.store', STATE.record.offset);
    f.get(CPU).get(STEPS).get(taken).op('i32.add').memory('i32.store', STATE.untilSample.offset);
    f.get(CPU).get(STEPS).get(RESERVE).op('i32.add').memory('i32.store', STATE.budget.offset);
  };
  const follow = (): FunctionBody => f.tee(REC).memory('i32.load', RECORD.handler).set(INDEX);
  f.loop();
  f.get(STEPS).i32(1).op('i32.sub').set(STEPS);
  f.loop();
  const call = (): FunctionBody => f.get(CPU).get(REC).get(INDEX).callIndirect(handler, handlerTable);
  if (inline.length === 0) call();
  else {
    const bodies = inline.map((write) => () => write(f));
    f.inline('i32', () => f.get(INDEX).i32(HANDLER.firstForm).op('i32.sub'), bodies, call);
  }
  f.tee(next);
  f.i32(FIRST_RECORD).op('i32.ge_u').if();
  f.get(STEPS).if();
  f.get(STEPS).i32(1).op('i32.sub').set(STEPS).get(next);
  follow().br(2).end();
  f.get(CPU).get(REC).memory('i32.store', STATE.lastRecord.offset);
  f.get(next).set(REC);
  leave();
  f.i32(EXIT.budget).return().end();
  f.get(next).i32(EXIT.linked).op('i32.eq').if();
  f.get(CPU).memory('i32.load', STATE.record.offset);
  follow().br(1).end().end();
  f.get(next).i32(EXIT.hot).op('i32.eq').if();
  f.get(CPU).get(REC).memory('i32.store', STATE.lastRecord.offset);
  f.get(STEPS).i32(1).op('i32.add').set(STEPS);
  // regions lead to each other by themselves; ways come here that are to be looked at
  f.loop();
  callRegion(f, { next, taken }, module.type(REGION_SIGNATURE), { regionTable, measured });
  f.i32(FIRST_RECORD).op('i32.ge_u').if().get(next);
  follow();
  f.get(INDEX).i32(HANDLER.hot).op('i32.ne').if();
  f.get(STEPS).brIf(4);
  leave();
  f.i32(EXIT.budget).return().end();
  f.get(CPU).get(CPU).memory('i32.load', STATE.untilHop.offset).i32(1).op('i32.sub').tee(next);
  f.memory('i32.store', STATE.untilHop.offset).get(next).brIf(1);
  leave();
  f.i32(EXIT.hop).return().end();
  f.end().end();
  f.get(next).i32(EXIT.system).op('i32.eq').if();
  f.get(CPU).get(REC).get(STEPS).get(RESERVE).op('i32.add').call(contained).tee(next);
  f.i32(FIRST_RECORD).op('i32.ge_u').if();
  f.get(CPU).get(REC).memory('i32.store', STATE.lastRecord.offset);
  f.get(next);
  follow();
  f.get(STEPS).brIf(2);
  leave();
  f.i32(EXIT.budget).return().end().end();
  f.end();
  leave();
  f.get(next);
  module.add(f, 'run');
}

/**
 * The loop that tells of each step: as {@link addRun}, but each handler is asked for before it is called. `next(record, steps left, handler)`
 * gives the handler to call; no regions are entered.
 */
function addTracedRun(module: ModuleBuilder, handlerTable: number, next: number): void {
  const f = new FunctionBody({ params: ['i32', 'i32', 'i32', 'i32', 'i32'], results: ['i32'] });
  const given = f.local('i32');
  const leave = (): void => {
    f.get(CPU).get(REC).memory('i32.store', STATE.record.offset);
    f.get(CPU).get(STEPS).memory('i32.store', STATE.untilSample.offset);
    f.get(CPU).get(STEPS).get(RESERVE).op('i32.add').memory('i32.store', STATE.budget.offset);
  };
  const follow = (): FunctionBody => f.tee(REC).memory('i32.load', RECORD.handler).set(INDEX);
  f.loop();
  f.get(STEPS).i32(1).op('i32.sub').set(STEPS);
  f.loop();
  f.get(CPU).get(REC).get(REC).get(STEPS).get(RESERVE).op('i32.add').get(INDEX).call(next);
  f.callIndirect(module.type(HANDLER_SIGNATURE), handlerTable).tee(given);
  f.i32(FIRST_RECORD).op('i32.ge_u').if();
  f.get(STEPS).if();
  f.get(STEPS).i32(1).op('i32.sub').set(STEPS).get(given);
  follow().br(2).end();
  f.get(CPU).get(REC).memory('i32.store', STATE.lastRecord.offset);
  f.get(given).set(REC);
  leave();
  f.i32(EXIT.budget).return().end();
  f.get(given).i32(EXIT.linked).op('i32.eq').if();
  f.get(CPU).memory('i32.load', STATE.record.offset);
  follow().br(1).end().end();
  f.end();
  leave();
  f.get(given);
  module.add(f, 'run');
}

/** Runs the region that the record enters, and pushes what it gave, which is in `next` too. Its steps are accounted for. */
function callRegion(
  f: FunctionBody,
  { next, taken }: { readonly next: number; readonly taken: number },
  region: number,
  { regionTable, measured }: Pick<RunParts, 'regionTable' | 'measured'>,
): void {
  f.get(CPU).get(REC).memory('i32.load', RECORD.imm2).tee(next);
  f.i32((1 << BLOCK_BITS) - 1).op('i32.and');
  f.get(STEPS).get(RESERVE).op('i32.add');
  f.get(next).i32(BLOCK_BITS).op('i32.shr_u').callIndirect(region, regionTable).tee(next);
  if (measured) {
    f.get(CPU).get(CPU).memory('i64.load', STATE.regionSteps.offset);
    f.get(STEPS).get(RESERVE).op('i32.add').get(CPU).memory('i32.load', STATE.budget.offset).op('i32.sub');
    f.op('i64.extend_i32_s').op('i64.add').memory('i64.store', STATE.regionSteps.offset);
  }
  f.get(CPU).memory('i32.load', STATE.budget.offset).tee(RESERVE);
  f.get(STEPS).op('i32.lt_u').if();
  f.get(taken).get(STEPS).op('i32.add').get(RESERVE).op('i32.sub').set(taken);
  f.get(RESERVE).set(STEPS).end();
  f.get(RESERVE).get(STEPS).op('i32.sub').set(RESERVE);
}

/** (vCPU state, record of a system instruction, steps left behind it) -> the record behind it, or {@link EXIT.system}. */
export const CONTAINED_SIGNATURE: Signature = { params: ['i32', 'i32', 'i32'], results: ['i32'] };
/** The same as TypeScript has it. */
export type Contained = (base: number, record: number, left: number) => number;

const handlerBody = (): FunctionBody => new FunctionBody(HANDLER_SIGNATURE);
const exitHandler = (code: number): FunctionBody => handlerBody().i32(code);

/** Continues without a step at the record in `link`. */
function linkHandler(): FunctionBody {
  const f = handlerBody();
  f.get(CPU).get(REC).memory('i32.load', RECORD.link).memory('i32.store', STATE.record.offset);
  return f.i32(EXIT.linked);
}

/** Continues without a step at `pageBase` + `next`, which lies in the following page. `jump`: of 64-bit mode, of others. */
function pageEndHandler(jump: readonly [number, number]): FunctionBody {
  const f = handlerBody();
  const record = f.local('i32');
  const rip = f.local('i64');
  f.get(CPU).memory('i64.load', STATE.pageBase.offset);
  f.get(REC).memory('i64.load32_u', RECORD.next).op('i64.add').set(rip);
  f.get(CPU).memory('i32.load', STATE.codeMode.offset).i32(2).op('i32.eq').if('i32');
  f.get(CPU).get(rip).call(jump[0]).else().get(CPU).get(rip).call(jump[1]).end().tee(record);
  f.i32(FIRST_RECORD).op('i32.lt_u').if().i32(EXIT.lookupFree).return().end();
  f.get(CPU).get(record).memory('i32.store', STATE.record.offset);
  return f.i32(EXIT.linked);
}

/**
 * Continues without a step at the record in `link` when the code TLB still maps the following page to the page whose
 * address is in `imm2`; else leaves.
 */
function crossHandler(): FunctionBody {
  const f = handlerBody();
  const entry = f.local('i32');
  const page = f.local('i64');
  f.get(CPU).memory('i64.load', STATE.pageBase.offset).i64(4096n).op('i64.add').set(page);
  f.get(CPU).memory('i32.load', STATE.codeMode.offset).i32(2).op('i32.ne').if();
  f.get(page)
    .get(CPU)
    .memory('i64.load', STATE.segmentBase.offset + SEG.cs * 8)
    .op('i64.add');
  f.i64(0xffff_ffffn).op('i64.and').set(page).end();
  pushCodeEntry(f, page);
  f.get(CPU).memory('i32.load', STATE.tlbBase.offset).op('i32.add').tee(entry);
  f.memory('i64.load', EXEC_OFFSET + EXEC_ENTRY.tag)
    .get(page)
    .op('i64.eq');
  f.get(entry).memory('i32.load', EXEC_OFFSET + EXEC_ENTRY.page);
  f.get(REC).memory('i32.load', RECORD.imm2).op('i32.eq').op('i32.and').if();
  f.get(CPU).get(REC).memory('i32.load', RECORD.link).memory('i32.store', STATE.record.offset);
  f.i32(EXIT.linked).return().end();
  return f.i32(EXIT.cross);
}

export interface Core {
  readonly table: WebAssembly.Table;
  /** Functions of regions, by index. */
  readonly regions: WebAssembly.Table;
  run(cpu: number, record: number, steps: number, handler: number, reserve: number): number;
}

/** Compiles the core over a machine's memory; `measured` as in the loop. */
export function makeCore(
  memory: WebAssembly.Memory,
  contained: Contained,
  instantiate: Instantiate,
  measured = false,
): Core {
  const module = new ModuleBuilder();
  module.importMemory('e', 'm', memory.buffer.byteLength / 65536);
  const execute = module.importFunction('e', 'contained', CONTAINED_SIGNATURE);
  const regionTable = module.importTable('e', 'r', REGION_TABLE_SIZE);
  const end = module.add(exitHandler(EXIT.end), `h${HANDLER.end}`);
  const handlerTable = module.table(module.type(HANDLER_SIGNATURE), TABLE_SIZE, end, 't');
  addRun(module, { contained: execute, handlerTable, regionTable, measured, inline: [] });
  const jump = [addJump(module, false), addJump(module, true)] as const;
  module.add(exitHandler(EXIT.stale), `h${HANDLER.stale}`);
  module.add(linkHandler(), `h${HANDLER.link}`);
  module.add(pageEndHandler(jump), `h${HANDLER.pageEnd}`);
  module.add(crossHandler(), `h${HANDLER.cross}`);
  module.add(exitHandler(EXIT.system), `h${HANDLER.system}`);
  module.add(exitHandler(EXIT.pause), `h${HANDLER.pause}`);
  module.add(exitHandler(EXIT.hot), `h${HANDLER.hot}`);
  const regions = new WebAssembly.Table({ element: 'anyfunc', initial: REGION_TABLE_SIZE, maximum: REGION_TABLE_SIZE });
  const { exports: all } = instantiate(module.encode(), { e: { m: memory, r: regions, contained } });
  const exports = all as Record<string, unknown>;
  const table = exports.t as WebAssembly.Table;
  for (let i = 0; i < HANDLER.firstForm; i++) {
    const handler = exports[`h${i}`];
    if (handler !== undefined) table.set(i, handler);
  }
  return { table, regions, run: exports.run as Core['run'] };
}

/** The loop that tells of each step, over the handlers of `core`. */
export function makeTracedRun(
  memory: WebAssembly.Memory,
  core: Pick<Core, 'table'>,
  instantiate: Instantiate,
  next: (record: number, left: number, handler: number) => number,
): Core['run'] {
  const module = new ModuleBuilder();
  module.importMemory('e', 'm', memory.buffer.byteLength / 65536);
  const asked = module.importFunction('e', 'next', { params: ['i32', 'i32', 'i32'], results: ['i32'] });
  const handlerTable = module.importTable('e', 't', TABLE_SIZE, module.type(HANDLER_SIGNATURE));
  addTracedRun(module, handlerTable, asked);
  return instantiate(module.encode(), { e: { m: memory, t: core.table, next } }).exports.run as Core['run'];
}
