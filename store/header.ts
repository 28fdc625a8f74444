/**
 * A recording's header and the images it carries, in pieces.
 */
import { FORMAT_VERSION, isReadableFormat, type RecordingHeader } from '../src/timeline/trace-store.ts';
import { bigOfBytes, bytesOfBig, headerCodec } from './messages.ts';
import { damaged, numbered } from './sealed.ts';
import type { RawValue } from './write-queue.ts';

const PIECE_BYTES = 1 << 20;

/** What the header says of an image. */
export interface BlobInfo {
  readonly name: string;
  readonly bytes: number;
}

export function encodeHeader(header: RecordingHeader, blobs: readonly BlobInfo[]): Uint8Array {
  return headerCodec.encode({
    ...header,
    formatVersion: FORMAT_VERSION,
    seed: bytesOfBig(header.seed, 8),
    settings: { ...header.settings },
    blobs: [...blobs],
  });
}

export function decodeHeader(bytes: Uint8Array): { header: RecordingHeader; blobs: BlobInfo[] } {
  const { formatVersion, blobs, seed, ...rest } = headerCodec.decode(bytes);
  if (!isReadableFormat(formatVersion)) throw damaged('the header', `has format version ${formatVersion}`);
  return { header: { ...rest, seed: bigOfBytes(seed), settings: { ...rest.settings } }, blobs };
}

/** An image, not to change until it is on disk, as values to store. */
export function splitBlob(name: string, bytes: Uint8Array): RawValue[] {
  return Array.from({ length: Math.ceil(bytes.length / PIECE_BYTES) }, (_, i) => ({
    key: numbered(`blob/${name}`, i),
    data: bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES),
  }));
}

/** The image that the header describes; E_RECORDING when it is not what it was. */
export function joinBlob(info: BlobInfo, read: (key: string) => Uint8Array): Uint8Array {
  const bytes = new Uint8Array(info.bytes);
  let at = 0;
  for (let i = 0; at < info.bytes; i++) {
    const piece = read(numbered(`blob/${info.name}`, i));
    if (piece.length === 0 || at + piece.length > info.bytes) break;
    bytes.set(piece, at);
    at += piece.length;
  }
  if (at !== info.bytes) throw damaged(info.name, `is damaged: it has ${at} bytes, not ${info.bytes}`);
  return bytes;
}
