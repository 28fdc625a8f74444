/**
 * V8's functions for the machine code of Wasm modules, which have names only with `--allow-natives-syntax`: those behind Chrome's cache of
 * compiled code. V8 refuses code of another version, other flags or another CPU.
 */
import { setFlagsFromString } from 'node:v8';

export interface V8Code {
  /** Ends the process when no function of the module is optimized. */
  serialize(module: WebAssembly.Module): ArrayBuffer;
  deserialize(code: ArrayBuffer, bytes: Uint8Array): WebAssembly.Module | undefined;
  isOptimized(exported: unknown): boolean;
}

/** Null when this V8 cannot give its code away. */
export function v8Code(): V8Code | null {
  try {
    setFlagsFromString('--allow-natives-syntax');
    const native = (name: string, ...of: string[]): unknown => new Function(...of, `return %${name}(${of.join()})`);
    return {
      serialize: native('SerializeWasmModule', 'module') as V8Code['serialize'],
      deserialize: native('DeserializeWasmModule', 'code', 'bytes') as V8Code['deserialize'],
      isOptimized: native('IsTurboFanFunction', 'exported') as V8Code['isOptimized'],
    };
  } catch {
    return null;
  }
}

/** Flags under which a module is compiled by the optimizing compiler at once, and those that take them back. */
const AT_ONCE = ['--no-liftoff', '--no-wasm-lazy-compilation', '--no-wasm-dynamic-tiering'];
const AS_USUAL = ['--liftoff', '--wasm-lazy-compilation', '--wasm-dynamic-tiering'];

/** A module all of whose functions are optimized. */
export function compileOptimized(bytes: Uint8Array): WebAssembly.Module {
  for (const flag of AT_ONCE) setFlagsFromString(flag);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of AS_USUAL) setFlagsFromString(flag);
  }
}
