/**
 * Handlers of every form of 64-bit mode as one module, which a host can have compiled before any machine exists. Those of other modes
 * and of segments with limits are generated when they are needed, as all are where nothing is prepared.
 */
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

const LONG_ADDRESSING = [ADDRESSING.flat, ADDRESSING.indexed, ADDRESSING.general] as const;

/** Generates the module; takes 0.5 s. */
export function prepareHandlers(): HandlerModule {
  const kinds: HandlerKind[] = [];
  for (const form of enumerateForms(2, 'x86-64-v2').keys()) {
    const program = programOf(form);
    if (program === null) continue;
    for (const addressing of dependsOnAddressing(program) ? LONG_ADDRESSING : [ADDRESSING.flat]) {
      kinds.push({ key: keyOf(form, addressing, false), program, addressing, checked: false });
    }
  }
  return { keys: kinds.map((x) => x.key), bytes: handlerModule(HANDLER.firstForm, kinds, false) };
}
