/** What recording and opening a recording have in common. */
import { basename, dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { inflateRawSync } from 'node:zlib';
import { CodeFile } from '../../../store/code-file.ts';
import type { LevelStore } from '../../../store/level-store.ts';
import { EmulatorError } from '../../core/errors.ts';
import type { Tick } from '../../core/units.ts';
import type { PreparedHandlers } from '../../engine/cold/prepared.ts';
import type { EngineOptions } from '../../engine/engine.ts';
import type { Sighting } from '../../inspect/panic.ts';
import type { VerdictReport } from '../../inspect/report.ts';
import type { SearchHooks } from '../../inspect/search.ts';
import { symbolText } from '../../inspect/symbol-text.ts';
import { SymbolTable, symbolsOfImage } from '../../inspect/symbols.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Verdict } from '../../x86/seam.ts';
import type { Inflate } from '../../xen/loader/gzip.ts';
import type { WorkHooks } from '../backend.ts';
import { CompiledCode, nameOf } from './compiled-code.ts';
import { loadHandlers } from './prepared-handlers.ts';

/** How often work looks up from the machine. */
export const BREATH_MS = 20;

/** Lets the host's events happen about every {@link BREATH_MS}; throws when the user has interrupted. */
export function breather(stop: AbortSignal): () => Promise<void> {
  let last = performance.now();
  return async () => {
    const now = performance.now();
    if (now - last < BREATH_MS) return;
    await nextTurn();
    last = performance.now();
    stop.throwIfAborted();
  };
}
/** Hooks of a search from those of the work it is part of. */
export const searchHooks = (hooks: WorkHooks): SearchHooks => ({
  breathe: breather(hooks.stop),
  progress: (done, of) => hooks.progress(done, of),
});

/** zlib of the host: it takes a third of the time that ours in JavaScript takes. */
export const inflate: Inflate = (bytes, start, most) => {
  // one chunk of the whole size: with several, twice the memory
  const options = { maxOutputLength: most, chunkSize: Math.max(most, 64), info: true };
  const { buffer, engine } = inflateRawSync(bytes.subarray(start), options) as unknown as {
    buffer: Uint8Array;
    engine: { bytesWritten: number };
  };
  return { content: buffer, end: start + engine.bytesWritten };
};

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

/** The store for a new recording, loaded for it, and the name in it that the recording's path means. */
export async function storeOf(path: string): Promise<{ store: LevelStore; name: string }> {
  const { LevelStore } = await import('../../../store/level-store.ts');
  return { store: new LevelStore(dirname(resolve(path))), name: basename(path) };
}

/** Symbols of an unpacked kernel; none is no error. */
export const symbolsOf = (elf: Uint8Array): SymbolTable => symbolsOfImage(elf) ?? SymbolTable.empty;

/** A verdict with the place where it stands. */
export function verdictReport(
  { kind, message }: Verdict,
  { tick, vcpu, rip }: Sighting,
  symbols: SymbolTable,
): VerdictReport {
  return { kind, tick, vcpu, rip, symbol: symbolText(symbols, rip), message };
}
/** Where a machine stands; `tick` may be the state that an instruction in progress leads to. */
export const sighting = ({ cpu }: Machine, tick: Tick): Sighting => ({ tick, vcpu: cpu.id, rip: cpu.rip });
