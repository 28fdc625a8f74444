/**
 * A recording's header and the images it carries, in pieces.
 */
import { FORMAT_VERSION, isReadableFormat, type RecordingHeader } from '../src/timeline/trace-store.ts';
import { bigOfBytes, bytesOfBig, headerCodec } from './messages.ts';
import { damaged, numbered, placeOf } from './sealed.ts';
import type { RawValue } from './write-queue.ts';

const PIECE_BYTES = 1 << 20;

/** What the header says of an image. */
export interface BlobInfo {
  readonly name: string;
  readonly bytes: number;
}

/** Bytes of an image at most: it is held in memory beside the guest's. */
export const BLOB_BYTES_MAX = 3 << 28;

export function encodeHeader(header: RecordingHeader, blobs: readonly BlobInfo[]): Uint8Array {
  return headerCodec.encode({
    ...header,
    formatVersion: FORMAT_VERSION,
    seed: bytesOfBig(header.seed, 8),
    settings: { ...header.settings },
    blobs: [...blobs],
  });
}

/** Throws RangeError on anything malformed. */
export function decodeHeader(bytes: Uint8Array): { header: RecordingHeader; blobs: BlobInfo[] } {
  const { formatVersion, blobs, seed, ...rest } = headerCodec.decode(bytes);
  if (!isReadableFormat(formatVersion)) throw damaged('the header', `has format version ${formatVersion}`);
  for (const blob of blobs)
    if (blob.bytes > BLOB_BYTES_MAX) throw new RangeError(`it has an image of ${blob.bytes} bytes`);
  return { header: { ...rest, seed: bigOfBytes(seed, 8), settings: { ...rest.settings } }, blobs };
}

/** An image, not to change until it is on disk, as values to store. */
export function splitBlob(name: string, bytes: Uint8Array): RawValue[] {
  return Array.from({ length: piecesOf(bytes.length) }, (_, i) => ({
    key: numbered(`blob/${name}`, i),
    data: bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES),
  }));
}
const piecesOf = (bytes: number): number => Math.ceil(bytes / PIECE_BYTES);

/** The image that the header describes; E_RECORDING when it is not what it was. */
export function joinBlob(info: BlobInfo, read: (key: string) => Uint8Array): Uint8Array {
  const count = piecesOf(info.bytes);
  const keyOf = (i: number): string => numbered(`blob/${info.name}`, i);
  // Room for all of it once there is an end of it.
  if (count > 0) read(keyOf(count - 1));
  const bytes = new Uint8Array(info.bytes);
  for (let i = 0; i < count; i++) {
    const piece = read(keyOf(i));
    const length = Math.min(PIECE_BYTES, info.bytes - i * PIECE_BYTES);
    if (piece.length !== length)
      throw damaged(placeOf(keyOf(i)), `is damaged: it has ${piece.length} bytes, not ${length}`);
    bytes.set(piece, i * PIECE_BYTES);
  }
  return bytes;
}
