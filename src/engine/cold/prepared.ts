/**
 * Handlers of every form of 64-bit mode as one module, with a loop that has the most frequent of them in line, which a host can have
 * compiled before any machine exists. Those of other modes and of segments with limits are generated when they are needed, as all are
 * where nothing is prepared.
 */
import { assert } from '../../core/assert.ts';
import { enumerateForms } from '../../x86/decode/enumerate.ts';
import { programOf } from '../../x86/semantics/registry.ts';
import { HANDLER } from './exits.ts';
import { type HandlerKind, handlerModule, keyOf } from './handler-module.ts';
import { ADDRESSING, dependsOnAddressing } from './lower.ts';

/** A module of handlers. */
export interface HandlerModule {
  /** What its handlers are for, in the order of their indices. */
  readonly keys: readonly string[];
  readonly bytes: Uint8Array;
}
/** The same, compiled. */
export interface PreparedHandlers {
  readonly keys: readonly string[];
  readonly module: WebAssembly.Module;
}

/**
 * The handlers that stand in the loop itself, by the time that a boot of Debian spends in each: four fifths of all that it spends in
 * handlers of 64-bit mode.
 */
const FREQUENT: readonly string[] = [
  'ret.8/s8 0',
  'mov.8.r,mem 0',
  'call.8.imm/s8 0',
  'push.8.m/s8 0',
  'mov.4.r,mem 0',
  'mov.8.m,r 0',
  'pop.8.m/s8 0',
  'mov.8.mem,r 0',
  'jmp.8.imm 0',
  'jcc#4.8.imm 0',
  'xor.4.m,r 0',
  'jcc#5.8.imm 0',
  'mov.4.m,r 0',
  'test.8.m,r 0',
  'cmp.8.m,r 0',
  'add.8.m,imm 0',
  'mov.4.mem,r 0',
  'mov.8.mem,imm 0',
  'mov.8.r,mem 2',
  'lea.8.r,mem0 0',
  'movzx.4.r,mem1 0',
  'test.4.m,r 0',
  'add.4.m,r 0',
  'movzx.4.r,mem1 1',
  'ror.4.m,imm1 0',
  'nop 0',
  'mov.4.m,imm 0',
  'cmp.1.mem,imm 0',
  'add.8.m,r 0',
  'cmp.4.m,r 0',
  'test.1.m,r 0',
  'cmp.8.m,imm 0',
  'mov.8.r,mem 1',
  'sub.8.m,r 0',
  'cmp.4.m,imm 0',
  'and.4.m,imm 0',
  'shr.8.m,imm1 0',
  'test.1.mem,imm 0',
  'rol.4.m,imm1 0',
  'lea.8.r,mem0 1',
  'mov.4.r,mem 2',
  'sub.8.m,imm 0',
  'cmp.8.mem,r 0',
  'add.8.r,mem 0',
  'inc.4.mem 2',
  'movsxd.8.r,m4 0',
  'mov.1.mem,imm 0',
  'jcc#2.8.imm 0',
  'cmp.4.mem,imm 0',
  'call_indirect.8.mem/s8 0',
  'and.8.m,imm 0',
  'jcc#6.8.imm 0',
  'mov.4.mem,imm 0',
  'cmp.8.r,mem 0',
  'cmp.8.mem,imm 0',
  'movzx.4.r,mem2 0',
  'jmp_indirect.8.mem 0',
  'add.4.m,imm 0',
  'jcc#7.8.imm 0',
  'cmp.1.mem,r 0',
  'mov.8.mem,r 1',
  'movsxd.8.r,mem4 0',
  'sub.8.r,mem 2',
  'sub.4.m,imm 0',
  'dec.4.mem 2',
  'mov.8.m,imm 0',
];

const LONG_ADDRESSING = [ADDRESSING.flat, ADDRESSING.indexed, ADDRESSING.general] as const;

/** Generates the module; takes 0.5 s. `measured`: its loop counts the steps that regions take. */
export function prepareHandlers(measured = false): HandlerModule {
  const kinds: HandlerKind[] = [];
  for (const form of enumerateForms(2, 'x86-64-v2').keys()) {
    const program = programOf(form);
    if (program === null) continue;
    for (const addressing of dependsOnAddressing(program) ? LONG_ADDRESSING : [ADDRESSING.flat]) {
      kinds.push({ key: keyOf(form, addressing, false), program, addressing, checked: false });
    }
  }
  const place = new Map(FREQUENT.map((key, i) => [key, i]));
  const placeOf = ({ key }: HandlerKind): number => place.get(key) ?? FREQUENT.length;
  kinds.sort((a, b) => placeOf(a) - placeOf(b));
  const inline = kinds.findIndex((x) => !place.has(x.key));
  assert(inline === FREQUENT.length, 'a frequent handler is one of all');
  return { keys: kinds.map((x) => x.key), bytes: handlerModule(HANDLER.firstForm, kinds, { inline, measured }) };
}
