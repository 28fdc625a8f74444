/**
 * Machine code of the engine's modules, kept from one process to the next: a boot of a kernel that was booted before, and each
 * look into its recordings, starts with what V8's optimizing compiler made the last time. It is found by the SHA-256 of a module's
 * bytes, and V8 refuses code of another version, other flags or another CPU: what runs is what would have been compiled. With it are
 * kept the translations that the modules came from, under a key of the translator's sources.
 */
import { createHash, hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { deserialize, serialize, setFlagsFromString } from 'node:v8';
import { crc32 } from 'node:zlib';
import type { CodeFile } from '../../../store/code-file.ts';
import type { CodeHost, Instantiate } from '../../engine/code-host.ts';
import { Translations, type TranslationsData } from '../../engine/hot/translations.ts';

/** What decides what is translated how: the layers of the tree below and including the engine's. */
const SOURCES = ['core', 'ir', 'x86', 'memory', 'engine'].map((x) => resolve(import.meta.dirname, '../..', x));
/** Instances that are looked at in the end. */
const MAX_TRACKED = 4096;
/** The parts at both ends of an image that tell which it is. */
const IMAGE_PART_BYTES = 1 << 16;

/** V8's functions for this, which have names only with `--allow-natives-syntax`. */
interface Natives {
  /** Ends the process when no function of the module is optimized. */
  serialize(module: WebAssembly.Module): ArrayBuffer;
  deserialize(code: ArrayBuffer, bytes: Uint8Array): WebAssembly.Module | undefined;
  isOptimized(exported: unknown): boolean;
}
function natives(): Natives | null {
  try {
    setFlagsFromString('--allow-natives-syntax');
    const native = (name: string, ...of: string[]): unknown => new Function(...of, `return %${name}(${of.join()})`);
    return {
      serialize: native('SerializeWasmModule', 'module') as Natives['serialize'],
      deserialize: native('DeserializeWasmModule', 'code', 'bytes') as Natives['deserialize'],
      isOptimized: native('IsTurboFanFunction', 'exported') as Natives['isOptimized'],
    };
  } catch {
    return null;
  }
}

/** Name of the file for a kernel image; another image may share it, which costs nothing but room. */
export function nameOf(image: Uint8Array): string {
  const first = crc32(image.subarray(0, IMAGE_PART_BYTES));
  const both = crc32(image.subarray(Math.max(0, image.length - IMAGE_PART_BYTES)), first);
  return `${image.length.toString(16)}-${both.toString(16)}.code`;
}

/** SHA-256 of the translator, which is what says whether a translation is still the one that would be made. */
function sourceHash(): Uint8Array {
  const sum = createHash('sha256');
  for (const folder of SOURCES)
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort())
      if (name.endsWith('.ts')) sum.update(name).update(readFileSync(join(folder, name)));
  return sum.digest();
}

interface Made {
  readonly key: string;
  readonly module: WeakRef<WebAssembly.Module>;
  readonly instance: WeakRef<WebAssembly.Instance>;
}

/** Code of one kernel's modules, and what they were made of. */
export class CompiledCode implements Pick<CodeHost, 'instantiate' | 'translations'> {
  readonly #file: CodeFile;
  /** By key of their entry in the file. */
  readonly #translations = new Map<string, Translations>();
  readonly #natives: Natives;
  #made: Made[] = [];
  /** Modules that were not compiled. */
  recalled = 0;

  private constructor(file: CodeFile, functions: Natives) {
    this.#file = file;
    this.#natives = functions;
  }
  /** The code in a file; null when this V8 cannot give its code away. */
  static of(file: CodeFile): CompiledCode | null {
    const functions = natives();
    return functions === null ? null : new CompiledCode(file, functions);
  }

  readonly instantiate: Instantiate = (bytes, imports) => {
    const key = hash('sha256', bytes, 'buffer').toString('latin1');
    const module = this.#recall(key, bytes) ?? new WebAssembly.Module(bytes);
    const instance = new WebAssembly.Instance(module, imports);
    if (this.#made.length === MAX_TRACKED) this.#made = this.#made.filter((x) => x.instance.deref() !== undefined);
    if (this.#made.length < MAX_TRACKED)
      this.#made.push({ key, module: new WeakRef(module), instance: new WeakRef(instance) });
    return instance;
  };
  #recall(key: string, bytes: Uint8Array): WebAssembly.Module | null {
    const code = this.#file.take(key);
    if (code === null) return null;
    const module = this.#natives.deserialize(code.slice().buffer, bytes);
    if (module === undefined) this.#file.drop(key);
    else this.recalled++;
    return module ?? null;
  }

  readonly translations = (kind: string): Translations => {
    const key = createHash('sha256').update(sourceHash()).update(`${process.versions.v8} ${kind}`).digest('latin1');
    const known = this.#translations.get(key);
    if (known !== undefined) return known;
    const kept = this.#keptTranslations(key) ?? new Translations();
    this.#translations.set(key, kept);
    return kept;
  };
  #keptTranslations(key: string): Translations | null {
    const data = this.#file.take(key);
    if (data === null) return null;
    try {
      return new Translations(deserialize(data) as TranslationsData);
    } catch {
      this.#file.drop(key);
      return null;
    }
  }

  /** Keeps what has been translated and optimized since, for the next process. */
  save(): void {
    for (const [key, translations] of this.#translations)
      if (translations.changes > 0) this.#file.put(key, 0, serialize(translations.data));
    for (const made of this.#made) {
      const module = made.module.deref();
      const instance = made.instance.deref();
      if (module === undefined || instance === undefined) continue;
      const functions = Object.values(instance.exports).filter((x) => typeof x === 'function');
      const optimized = functions.filter((x) => this.#natives.isOptimized(x)).length;
      if (optimized > this.#file.rank(made.key))
        this.#file.put(made.key, optimized, new Uint8Array(this.#natives.serialize(module)));
    }
    this.#file.save();
  }
}
