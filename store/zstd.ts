/**
 * Zstandard frames: by Node's zlib where it has them, else by zstd-codec. Both write frames that the other reads.
 */
import { createRequire } from 'node:module';
import zlib from 'node:zlib';

export interface Zstd {
  /** What `use` makes of the frame of `data`, whose memory is taken back after it. */
  compress<T>(data: Uint8Array, use: (frame: Uint8Array) => T): T;
  /** Throws on a damaged frame and on one that unpacks to more than `limit` bytes. */
  decompress(frame: Uint8Array, limit: number): Uint8Array;
}

const LEVEL = 1;
/** Two to this many places in the match finder's table: 16 KiB stay in the processor's first cache, for 2 % larger frames. */
const HASH_LOG = 12;
/** How many bytes more the match finder skips where it finds nothing: a third less time, for frames larger by a quarter. */
const TARGET_LENGTH = 2;
const CHUNK_BYTES_MIN = 4096;
const CHUNK_BYTES_MAX = 1 << 20;

/** Node's own, from 22.15 and 23.8 on. */
export function nativeZstd(): Zstd | null {
  if (typeof zlib.zstdCompressSync !== 'function') return null;
  return {
    compress(data, use) {
      // The frame is to say how long its contents are: zstd-codec reads no other. Where one chunk of output is sure to hold it
      // (ZSTD_COMPRESSBOUND), zstd writes it there straight from the input and needs no memory of its own for either.
      const chunkSize = data.length + (data.length >> 8) + CHUNK_BYTES_MIN;
      const options: zlib.ZstdOptions & { pledgedSrcSize: number } = {
        params: {
          [zlib.constants.ZSTD_c_compressionLevel]: LEVEL,
          [zlib.constants.ZSTD_c_hashLog]: HASH_LOG,
          [zlib.constants.ZSTD_c_targetLength]: TARGET_LENGTH,
        },
        pledgedSrcSize: data.length,
        chunkSize,
      };
      const frame = zlib.zstdCompressSync(data, options);
      const made = use(frame);
      // Its memory is its own, above the size of Node's pool. Until the next garbage collection every frame would touch fresh memory.
      if (chunkSize > Buffer.poolSize) (frame.buffer as ArrayBuffer).transfer(0);
      return made;
    },
    decompress: (frame, limit) =>
      zlib.zstdDecompressSync(frame, {
        maxOutputLength: Math.max(limit, 1),
        chunkSize: Math.min(Math.max(4 * frame.length, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX),
      }),
  };
}

interface CodecModule {
  ZstdCodec: {
    run(
      ready: (zstd: {
        Simple: new () => {
          compress(data: Uint8Array, level: number): Uint8Array | null;
          decompress(frame: Uint8Array): Uint8Array | null;
        };
      }) => void,
    ): void;
  };
}

/** Bytes that a frame says its contents have, Infinity where it does not say (RFC 8878, 3.1.1.1). */
function promisedBytes(frame: Uint8Array): number {
  const descriptor = frame[4] ?? 0;
  const isSingle = (descriptor & 0x20) !== 0;
  const width = descriptor >> 6 === 0 ? Number(isSingle) : 1 << (descriptor >> 6);
  const at = 5 + (isSingle ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  if (width === 0 || at + width > frame.length) return Number.POSITIVE_INFINITY;
  let bytes = 0;
  for (let i = width - 1; i >= 0; i--) bytes = bytes * 256 + frame[at + i]!;
  return width === 2 ? bytes + 256 : bytes;
}

/** zstd-codec: the C library as WebAssembly. */
export async function wasmZstd(): Promise<Zstd> {
  const { ZstdCodec } = createRequire(import.meta.url)('zstd-codec') as CodecModule;
  const simple = await new Promise<InstanceType<Parameters<Parameters<typeof ZstdCodec.run>[0]>[0]['Simple']>>(
    (resolve) => {
      ZstdCodec.run((zstd) => resolve(new zstd.Simple()));
    },
  );
  return {
    compress(data, use) {
      const frame = simple.compress(data, LEVEL);
      if (frame === null) throw new Error('zstd-codec cannot compress');
      return use(frame);
    },
    decompress(frame, limit) {
      // It makes room for what the frame says.
      if (promisedBytes(frame) > limit) throw new Error('a Zstandard frame larger than allowed');
      const data = simple.decompress(frame);
      if (data === null || data.length > limit) throw new Error('a damaged Zstandard frame');
      return data;
    },
  };
}

/** The best there is on this host. */
export const zstd: Zstd = nativeZstd() ?? (await wasmZstd());
