/** Helpers as Wasm imports: unsigned BigInts on the helper's side, i32 numbers and i64 halves on the other. */
import type { Type } from '../../ir/program.ts';
import type { Helper } from '../../x86/helpers.ts';
import type { Signature, TypeName } from '../wasm/encoder.ts';

const halves = (type: Type): TypeName[] => (type === 'v128' ? ['i64', 'i64'] : [type]);

/** Vectors pass as two i64, low half first. */
export function helperSignature(helper: Helper): Signature {
  return { params: helper.params.flatMap(halves), results: halves(helper.result) };
}

const U64 = (1n << 64n) - 1n;

/** The JavaScript function behind the import. */
export function helperImport(helper: Helper): (...args: never[]) => unknown {
  const { params, result } = helper;
  const finish = (value: bigint): unknown =>
    result === 'i32' ? Number(BigInt.asIntN(32, value)) : result === 'i64' ? value : [value & U64, value >> 64n];
  const run = (...args: Array<number | bigint>): unknown => {
    let at = 0;
    const values = params.map((type) => {
      const low = args[at++]!;
      if (type === 'i32') return BigInt((low as number) >>> 0);
      const value = BigInt.asUintN(64, low as bigint);
      return type === 'i64' ? value : value | (BigInt.asUintN(64, args[at++] as bigint) << 64n);
    });
    return finish(helper.evaluate(...values));
  };
  return run as (...args: never[]) => unknown;
}
