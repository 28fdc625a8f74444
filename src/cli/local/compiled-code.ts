/**
 * Machine code of the engine's modules, kept from one process to the next: a boot of a kernel that was booted before, and each
 * look into its recordings, starts with what V8's optimizing compiler made the last time. It is found by the SHA-256 of a module's
 * bytes, and V8 refuses code of another version, other flags or another CPU: what runs is what would have been compiled. With it are
 * kept the translations that the modules came from, under a key of the translator's sources.
 */
import { hash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import { crc32 } from 'node:zlib';
import type { CodeFile } from '../../../store/code-file.ts';
import type { CodeHost } from '../../engine/code-host.ts';
import { Translations, type TranslationsData } from '../../engine/hot/translations.ts';
import type { Instantiate } from '../../engine/wasm/instantiate.ts';
import { engineKey } from './engine-key.ts';
import { type V8Code, v8Code } from './v8-code.ts';

/** Instances that are looked at in the end. */
const MAX_TRACKED = 4096;
/** The parts at both ends of an image that tell which it is. */
const IMAGE_PART_BYTES = 1 << 16;

/** Name of the file for a kernel image; another image may share it, which costs nothing but room. */
export function nameOf(image: Uint8Array): string {
  const first = crc32(image.subarray(0, IMAGE_PART_BYTES));
  const both = crc32(image.subarray(Math.max(0, image.length - IMAGE_PART_BYTES)), first);
  return `${image.length.toString(16)}-${both.toString(16)}.code`;
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
  readonly #v8: V8Code;
  #made: Made[] = [];
  /** Modules that were not compiled. */
  recalled = 0;

  private constructor(file: CodeFile, v8: V8Code) {
    this.#file = file;
    this.#v8 = v8;
  }
  /** The code in a file; null when this V8 cannot give its code away. */
  static of(file: CodeFile): CompiledCode | null {
    const v8 = v8Code();
    return v8 === null ? null : new CompiledCode(file, v8);
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
    const module = this.#v8.deserialize(code.slice().buffer, bytes);
    if (module === undefined) this.#file.drop(key);
    else this.recalled++;
    return module ?? null;
  }

  readonly translations = (kind: string): Translations => {
    const key = engineKey(kind);
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
      const optimized = functions.filter((x) => this.#v8.isOptimized(x)).length;
      if (optimized > this.#file.rank(made.key))
        this.#file.put(made.key, optimized, new Uint8Array(this.#v8.serialize(module)));
    }
    this.#file.save();
  }
}
