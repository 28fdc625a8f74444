import { describe, expect, it } from 'vitest';
import { nativeZstd, wasmZstd, type Zstd } from '../../store/zstd.ts';

const frameOf = (zstd: Zstd, data: Uint8Array): Uint8Array => zstd.compress(data, (frame) => Uint8Array.from(frame));

describe('Zstandard, two makers', () => {
  const data = Uint8Array.from({ length: 262_144 }, (_, i) => (i * i) >>> (i % 13));

  it('[X-02] the frames of each are read by the other', async () => {
    const native = nativeZstd();
    expect(native, 'this Node has Zstandard').not.toBeNull();
    const wasm = await wasmZstd();
    for (const [writer, reader] of [
      [native!, wasm],
      [wasm, native!],
    ] as const)
      for (const input of [data, new Uint8Array(1), new Uint8Array(4096)])
        expect(Buffer.compare(reader.decompress(frameOf(writer, input), input.length), input)).toBe(0);
  });

  it('[X-02] damaged frames and frames larger than allowed are errors', async () => {
    const wasm = await wasmZstd();
    for (const zstd of [nativeZstd()!, wasm]) {
      const frame = frameOf(zstd, data);
      expect(() => zstd.decompress(frame, data.length - 1)).toThrow();
      expect(() => zstd.decompress(frame.subarray(0, 1000), data.length)).toThrow();
      // What it says it unpacks to: 4 bytes behind the descriptor and the window, or behind the descriptor alone.
      const at = (frame[4]! & 0x20) === 0 ? 6 : 5;
      expect([frame[4]! >> 6, new DataView(frame.buffer).getUint32(at, true)]).toEqual([2, data.length]);
      const bomb = frame.slice();
      new DataView(bomb.buffer).setUint32(at, 0xffff_fff0, true);
      expect(() => zstd.decompress(bomb, 64 << 20)).toThrow(zstd === wasm ? 'larger than allowed' : undefined);
      frame[0]! ^= 1;
      expect(() => zstd.decompress(frame, data.length)).toThrow();
    }
  });
});
