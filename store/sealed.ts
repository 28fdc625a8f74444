/**
 * Sealed values (proto/recording.proto): codec, body, checksum over key and value.
 *
 * Invariant: unsealing returns what was sealed under the same key, or throws E_RECORDING with the place named.
 */
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { EmulatorError } from '../src/core/errors.ts';
import { zstd } from './zstd.ts';

const CODEC = { plain: 0, zstd: 1 } as const;
/** No value unpacks to more than this. */
const VALUE_MAX = 64 << 20;
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

function close(key: string, codec: number, body: Uint8Array): Uint8Array {
  const out = Buffer.allocUnsafe(body.length + 5);
  out[0] = codec;
  out.set(body, 1);
  out.writeUInt32LE(crc32(out.subarray(0, -4), crc32(key)), out.length - 4);
  return out;
}

/** Seals `data` for `key`, compressed where that helps; the result shares nothing with `data`. */
export function seal(key: string, data: Uint8Array): Uint8Array {
  if (data.length < COMPRESS_MIN) return close(key, CODEC.plain, data);
  const frame = zstd.compress(data);
  return frame.length < data.length ? close(key, CODEC.zstd, frame) : close(key, CODEC.plain, data);
}

/** The same bytes as a Uint8Array proper: slices of a Buffer are views. */
export const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Opens the value of `key`. */
export function unseal(key: string, value: Uint8Array): Uint8Array {
  const place = placeOf(key);
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < 5) throw damaged(place, 'is damaged: it is cut short');
  if (crc32(bytes.subarray(0, -4), crc32(key)) !== bytes.readUInt32LE(bytes.length - 4))
    throw damaged(place, 'is damaged: its checksum is wrong');
  const body = plain(bytes.subarray(1, -4));
  if (bytes[0] === CODEC.plain) return body;
  if (bytes[0] !== CODEC.zstd) throw damaged(place, `has the unknown codec ${bytes[0]}`);
  try {
    return plain(zstd.decompress(body, VALUE_MAX));
  } catch (error) {
    throw damaged(place, 'is damaged: it does not unpack', error);
  }
}

/** SHA-256 of `data`. */
export const sha256 = (data: Uint8Array): Uint8Array => hash('sha256', data, 'buffer');
/** The hash that chains journal blocks: 16 bytes. */
export const chainHash = (block: Uint8Array): Uint8Array => sha256(block).subarray(0, 16);
