/**
 * The cold tier's handlers as machine code, made when Hindsight is installed (tools/prepare-handlers.ts) and taken from there by each
 * process: no boot compiles them, none runs them before they are optimized. Where they are missing, or were made by another V8
 * or from other sources, each process generates what it needs.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { CodeFile } from '../../../store/code-file.ts';
import type { HandlerModule, PreparedHandlers } from '../../engine/cold/prepared.ts';
import { engineKey } from './engine-key.ts';
import { compileOptimized, v8Code } from './v8-code.ts';

const FILE = 'handlers.code';
const key = (): string => engineKey('handlers');

type Kept = HandlerModule & { readonly code: Uint8Array };

/** The handlers kept in a folder; null where there are none for this engine. */
export function loadHandlers(folder: string): PreparedHandlers | null {
  const v8 = v8Code();
  const kept = v8 === null ? null : new CodeFile(folder, FILE).take(key());
  if (v8 === null || kept === null) return null;
  try {
    const { keys, bytes, code } = deserialize(kept) as Kept;
    const module = v8.deserialize(code.slice().buffer, bytes);
    return module === undefined ? null : { keys, module };
  } catch {
    return null;
  }
}

/** Compiles handlers and keeps them in a folder; false when this V8 cannot give its code away. Takes 0.3 s. */
export function keepHandlers(folder: string, made: HandlerModule): boolean {
  const v8 = v8Code();
  if (v8 === null) return false;
  const code = new Uint8Array(v8.serialize(compileOptimized(made.bytes)));
  rmSync(join(folder, FILE), { force: true });
  const file = new CodeFile(folder, FILE);
  file.put(key(), made.keys.length, serialize({ ...made, code } satisfies Kept));
  file.save();
  return true;
}
