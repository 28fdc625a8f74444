/**
 * Sealed values (proto/recording.proto): codec, body, checksum over key and value.
 *
 * Invariant: unsealing returns what was sealed under the same key, or throws E_RECORDING with the place named.
 */
import { crc32 } from 'node:zlib';
import { EmulatorError } from '../src/core/errors.ts';
import { zstd } from './zstd.ts';

const CODEC = { plain: 0, zstd: 1, place: 2 } as const;
/** No value unpacks to more than this. */
const VALUE_MAX = 64 << 20;
/** Values of these kinds unpack to no more than this: pages and images come in pieces. */
const VALUE_MAX_OF: Readonly<Record<string, number>> = {
  header: 1 << 20,
  blob: 1 << 20,
  journal: 16 << 20,
  snapshot: 16 << 20,
  pages: 1 << 20,
  hashes: 4096,
  end: 1 << 20,
};
/** A frame is larger than its contents by less than this part of them, and its seal (ZSTD_COMPRESSBOUND). */
const FRAME_EXCESS = 1 / 128;
const SEAL_MAX = 1024;
/** Smaller values are not worth a frame. */
const COMPRESS_MIN = 64;

/** The key of item `index` of a kind. */
export const numbered = (kind: string, index: number): string => `${kind}/${String(index).padStart(8, '0')}`;

/** What a person calls the value under `key`: `journal block 12`. */
export function placeOf(key: string): string {
  const [kind, ...rest] = key.split('/');
  const index = Number(rest.at(-1));
  switch (kind) {
    case 'journal':
      return `journal block ${index}`;
    case 'snapshot':
      return `snapshot ${index}`;
    case 'sections':
      return `state sections of snapshot ${index}`;
    case 'pages':
      return `page chunk ${index}`;
    case 'hashes':
      return `page hashes ${index}`;
    case 'blob':
      return `${rest[0]}, piece ${index}`;
    case 'end':
      return 'the end record';
    default:
      return `the ${kind}`;
  }
}

/** E_RECORDING for `place`. */
export const damaged = (place: string, why: string, cause?: unknown): EmulatorError =>
  new EmulatorError('E_RECORDING', `${place} ${why}`, cause === undefined ? {} : { cause });

/** A value as the database holds it. */
export interface Sealed {
  readonly key: string;
  /** The sealed value, or where in the bulk file it is. */
  readonly value: Uint8Array;
  /** Bytes the value takes in the bulk file; 0 where it is in the database. */
  readonly bulkBytes: number;
}
/** Where a sealed value stands in the bulk file. */
export interface Place {
  readonly at: number;
  readonly bytes: number;
}
const PLACE_BYTES = 12;

/** The parts of a sealed value: codec, body, checksum. */
function close(key: string, codec: number, body: Uint8Array): Uint8Array[] {
  const head = Uint8Array.of(codec);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint32(0, crc32(body, crc32(head, crc32(key))), true);
  return [head, body, tail];
}

/** Bytes of all `parts`. */
export const total = (parts: readonly Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);

/** What `use` makes of the parts of `data` sealed for `key`, compressed where that helps; it has to copy or write them. */
export function seal<T>(key: string, data: Uint8Array, use: (parts: readonly Uint8Array[]) => T): T {
  if (data.length < COMPRESS_MIN) return use(close(key, CODEC.plain, data));
  return zstd.compress(data, (frame) =>
    use(frame.length < data.length ? close(key, CODEC.zstd, frame) : close(key, CODEC.plain, data)),
  );
}

/** What the database holds for a value that stands at `place` in the bulk file. */
export function sealPlace(key: string, { at, bytes }: Place): Uint8Array {
  const body = new Uint8Array(PLACE_BYTES);
  const view = new DataView(body.buffer);
  view.setBigUint64(0, BigInt(at), true);
  view.setUint32(8, bytes, true);
  return Buffer.concat(close(key, CODEC.place, body));
}

/** The same bytes as a Uint8Array proper: slices of a Buffer are views. */
export const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Bytes that the value of `key` has at most. */
const limitOf = (key: string): number => VALUE_MAX_OF[key.split('/', 1)[0]!] ?? VALUE_MAX;

/** Opens the value of `key`; `bulk` reads the bulk file, without it the value has to be here. */
export function unseal(key: string, value: Uint8Array, bulk?: (place: Place) => Uint8Array): Uint8Array {
  const place = placeOf(key);
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < 5) throw damaged(place, 'is damaged: it is cut short');
  if (crc32(bytes.subarray(0, -4), crc32(key)) !== bytes.readUInt32LE(bytes.length - 4))
    throw damaged(place, 'is damaged: its checksum is wrong');
  const body = plain(bytes.subarray(1, -4));
  if (bytes[0] === CODEC.plain && body.length <= limitOf(key)) return body;
  if (bytes[0] === CODEC.place && bulk !== undefined && body.length === PLACE_BYTES) {
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const there = { at: Number(view.getBigUint64(0, true)), bytes: view.getUint32(8, true) };
    if (there.bytes > limitOf(key) * (1 + FRAME_EXCESS) + SEAL_MAX) throw damaged(place, 'is too large');
    return unseal(key, bulk(there));
  }
  if (bytes[0] === CODEC.plain) throw damaged(place, 'is too large');
  if (bytes[0] !== CODEC.zstd) throw damaged(place, `has the unknown codec ${bytes[0]}`);
  try {
    return plain(zstd.decompress(body, limitOf(key)));
  } catch (error) {
    throw damaged(place, 'is damaged: it does not unpack', error);
  }
}

/** What `decode` makes of the value of `key`, which is malformed where it throws. */
export function decoded<T>(key: string, bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof EmulatorError) throw error;
    throw damaged(placeOf(key), `is malformed: ${(error as Error).message}`, error);
  }
}
