/** What this host gives its engines: a tier, a collector of garbage, code that was compiled before. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CodeFile } from '../../../store/code-file.ts';
import { EmulatorError } from '../../core/errors.ts';
import type { PreparedHandlers } from '../../engine/cold/prepared.ts';
import type { EngineOptions } from '../../engine/engine.ts';
import { CompiledCode, nameOf } from './compiled-code.ts';
import { loadHandlers } from './prepared-handlers.ts';

const TIERS = ['cold', 'hot', 'oracle'] as const;

let collect: (() => void) | null = null;
/** A full collection of garbage by V8; takes some 0.1 s. */
function collectGarbage(): void {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}

/** What is remembered of compiled code, by kernel. */
const remembered = new Map<string, CompiledCode>();
/** What the folder HINDSIGHT_CODE_CACHE, where that is named, remembers of a kernel's code. */
function rememberedFor(image: Uint8Array): CompiledCode | null {
  const folder = process.env.HINDSIGHT_CODE_CACHE;
  if (!folder) return null;
  const name = nameOf(image);
  const known = remembered.get(name);
  if (known !== undefined) return known;
  const code = CompiledCode.of(new CodeFile(folder, name));
  if (code === null) return null;
  remembered.set(name, code);
  process.on('exit', () => code.save());
  return code;
}

let handlers: PreparedHandlers | null | undefined;
/** The handlers in the folder HINDSIGHT_HANDLERS, where that is named. */
function preparedHandlers(): PreparedHandlers | null {
  const folder = process.env.HINDSIGHT_HANDLERS;
  if (handlers === undefined) handlers = folder ? loadHandlers(folder) : null;
  return handlers;
}

/** The tier that HINDSIGHT_TIER names, for measurements; undefined where it names none, E_USAGE for another word. */
export function wantedTier(): (typeof TIERS)[number] | undefined {
  const wanted = process.env.HINDSIGHT_TIER;
  if (wanted === undefined) return undefined;
  const tier = TIERS.find((name) => name === wanted);
  if (tier === undefined) throw new EmulatorError('E_USAGE', `HINDSIGHT_TIER=${wanted}: it is ${TIERS.join(', ')}`);
  return tier;
}

/** How this host's engines for an unpacked kernel are made; E_USAGE as of {@link wantedTier}. */
export function engineOptions(image: Uint8Array): EngineOptions {
  const code = rememberedFor(image);
  const host = {
    collectGarbage,
    prepared: preparedHandlers(),
    ...(code === null ? {} : { instantiate: code.instantiate, translations: code.translations }),
  };
  const tier = wantedTier();
  return tier === undefined ? { host } : { tier, host };
}
