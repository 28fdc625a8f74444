/**
 * Binary state sections: one declaration is the TypeScript type, the snapshot format, the hash input and the list of
 * fields. Every component outside guest memory keeps its state in one plain object described by a schema, so that
 * snapshot, restore, hash and the "flip every field" test need no code of their own.
 *
 * Invariants: the encoding is canonical (equal values give equal bytes), little-endian, and has no padding.
 */

import { assert } from './assert.ts';

/** Appends to a growing buffer. */
export class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  #grow(count: number): number {
    const at = this.#length;
    const need = at + count;
    if (need > this.#bytes.length) {
      const bigger = new Uint8Array(Math.max(need, this.#bytes.length * 2));
      bigger.set(this.#bytes);
      this.#bytes = bigger;
      this.#view = new DataView(bigger.buffer);
    }
    this.#length = need;
    return at;
  }
  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }
  u16(value: number): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
  }
  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }
  u64(value: bigint): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, true);
  }
  f64(value: number): void {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value, true);
  }
  bytes(value: Uint8Array): void {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
  }
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Reads what {@link Writer} wrote; throws RangeError past the end. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new RangeError(`state section ends at ${this.#bytes.length}`);
    this.#at = at + count;
    return at;
  }
  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }
  f64(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.slice(at, at + count);
  }
  get done(): boolean {
    return this.#at === this.#bytes.length;
  }
}

/** How one kind of value is written and read. `flip` returns values that differ from `value` in one field each. */
export interface Schema<T> {
  write(w: Writer, value: T): void;
  read(r: Reader): T;
  /** Names and variants of every field, for the test that flips them one at a time. */
  flips(value: T, path: string): Array<{ path: string; value: T }>;
}

/** The TypeScript type a schema describes. */
export type Infer<S> = S extends Schema<infer T> ? T : never;

const scalar = <T>(write: (w: Writer, v: T) => void, read: (r: Reader) => T, flip: (v: T) => T): Schema<T> => ({
  write,
  read,
  flips: (value, path) => [{ path, value: flip(value) }],
});

export const u8: Schema<number> = scalar(
  (w, v) => w.u8(v),
  (r) => r.u8(),
  (v) => v ^ 1,
);
export const u16: Schema<number> = scalar(
  (w, v) => w.u16(v),
  (r) => r.u16(),
  (v) => v ^ 1,
);
export const u32: Schema<number> = scalar(
  (w, v) => w.u32(v),
  (r) => r.u32(),
  (v) => (v ^ 1) >>> 0,
);
export const u64: Schema<bigint> = scalar(
  (w, v) => w.u64(v),
  (r) => r.u64(),
  (v) => v ^ 1n,
);
/** A tick, a nanosecond count or any other exact integer up to 2^53. */
export const integer: Schema<number> = scalar(
  (w, v) => {
    assert(Number.isSafeInteger(v), 'not an exact integer');
    w.f64(v);
  },
  (r) => {
    const value = r.f64();
    if (!Number.isSafeInteger(value)) throw new RangeError('state section has no exact integer where one should be');
    return value;
  },
  (v) => v + 1,
);
/** A byte that is 0 or 1. */
function readBool(r: Reader): boolean {
  const value = r.u8();
  if (value > 1) throw new RangeError('state section has neither true nor false where one should be');
  return value === 1;
}
export const bool: Schema<boolean> = scalar(
  (w, v) => w.u8(v ? 1 : 0),
  readBool,
  (v) => !v,
);
export const bytes: Schema<Uint8Array> = {
  write(w, v) {
    w.u32(v.length);
    w.bytes(v);
  },
  read: (r) => r.bytes(r.u32()),
  flips(value, path) {
    const longer = new Uint8Array(value.length + 1);
    longer.set(value);
    const out = [{ path: `${path}.length`, value: longer }];
    if (value.length > 0) {
      const changed = value.slice();
      changed[0] = changed[0]! ^ 1;
      out.push({ path: `${path}[0]`, value: changed });
    }
    return out;
  },
};
export const string: Schema<string> = {
  write: (w, v) => bytes.write(w, new TextEncoder().encode(v)),
  read: (r) => new TextDecoder().decode(bytes.read(r)),
  flips: (value, path) => [{ path, value: `${value}~` }],
};

/** A value that may be absent. */
export function optional<T>(item: Schema<T>): Schema<T | null> {
  return {
    write(w, v) {
      w.u8(v === null ? 0 : 1);
      if (v !== null) item.write(w, v);
    },
    read: (r) => (readBool(r) ? item.read(r) : null),
    flips: (value, path) => (value === null ? [] : [{ path: `${path}?`, value: null }, ...item.flips(value, path)]),
  };
}

/** A list of any length; order is part of the value. */
export function list<T>(item: Schema<T>): Schema<T[]> {
  return {
    write(w, v) {
      w.u32(v.length);
      for (const x of v) item.write(w, x);
    },
    read: (r) => Array.from({ length: r.u32() }, () => item.read(r)),
    flips: (value, path) =>
      value.flatMap((x, i) =>
        item.flips(x, `${path}[${i}]`).map((f) => ({ path: f.path, value: value.with(i, f.value) })),
      ),
  };
}

/** A map written in insertion order (which is therefore part of the state). */
export function map<K, V>(key: Schema<K>, item: Schema<V>): Schema<Map<K, V>> {
  return {
    write(w, v) {
      w.u32(v.size);
      for (const [k, x] of v) {
        key.write(w, k);
        item.write(w, x);
      }
    },
    read(r) {
      const out = new Map<K, V>();
      for (let n = r.u32(); n > 0; n--) {
        const k = key.read(r);
        if (out.has(k)) throw new RangeError('state section has a key twice');
        out.set(k, item.read(r));
      }
      return out;
    },
    flips(value, path) {
      return [...value].flatMap(([k, x]) =>
        item.flips(x, `${path}{${String(k)}}`).map((f) => ({ path: f.path, value: new Map(value).set(k, f.value) })),
      );
    },
  };
}

/** A record of named fields, written in declaration order. */
export function struct<F extends Record<string, Schema<unknown>>>(
  fields: F,
): Schema<{ [K in keyof F]: F[K] extends Schema<infer T> ? T : never }> {
  type T = { [K in keyof F]: F[K] extends Schema<infer U> ? U : never };
  const names = Object.keys(fields) as Array<keyof F & string>;
  const of = (name: keyof F & string): Schema<unknown> => fields[name] as Schema<unknown>;
  return {
    write(w, v) {
      for (const name of names) of(name).write(w, v[name]);
    },
    read(r) {
      const out: Record<string, unknown> = {};
      for (const name of names) out[name] = of(name).read(r);
      return out as T;
    },
    flips: (value, path) =>
      names.flatMap((name) =>
        of(name)
          .flips(value[name], path === '' ? name : `${path}.${name}`)
          .map((f) => ({ path: f.path, value: { ...value, [name]: f.value } as T })),
      ),
  };
}

/** `value` in its canonical bytes. */
export function encode<T>(schema: Schema<T>, value: T): Uint8Array {
  const w = new Writer();
  schema.write(w, value);
  return w.finish();
}

/** The value of `data`; throws RangeError when it is short, has bytes left over, or is not what {@link encode} writes. */
export function decode<T>(schema: Schema<T>, data: Uint8Array): T {
  const r = new Reader(data);
  const value = schema.read(r);
  if (!r.done) throw new RangeError('state section has bytes left over');
  return value;
}
