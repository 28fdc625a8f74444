/**
 * LZMA2: a chunked stream of LZMA, as an xz block carries it. A chunk never writes past the length its header states.
 *
 * Source: `xz-file-format.txt` of XZ Utils (LZMA2 itself is described in its source only).
 */

import { corrupt } from './limits.ts';
import { LzmaDecoder, type SymbolBudget } from './lzma.ts';

const fail = corrupt('xz');

/**
 * Decodes the chunks at `start` of `input` into `output`; returns the input position behind their end mark and how much
 * was written. E_IMAGE when they are malformed, hold more than `output` or more symbols than `budget` allows.
 */
export function unpackLzma2(
  input: Uint8Array,
  start: number,
  output: Uint8Array,
  budget: SymbolBudget,
): { end: number; written: number } {
  const lzma = new LzmaDecoder('xz', input, start, output, budget);
  const byte = (): number => {
    if (lzma.inPos >= input.length) fail(`it ends at byte ${input.length} inside an LZMA2 chunk`);
    return input[lzma.inPos++]!;
  };
  let needDict = true;
  let needProperties = true;
  let needState = true;
  for (;;) {
    const control = byte();
    if (control === 0) return { end: lzma.inPos, written: lzma.outPos };
    if (control >= 0xe0 || control === 1) {
      lzma.dictStart = lzma.outPos;
      needDict = false;
    } else if (needDict) fail(`the first chunk at byte ${lzma.inPos - 1} does not reset the dictionary`);
    if (control >= 0x80) {
      const size = ((control & 0x1f) << 16) + (byte() << 8) + byte() + 1;
      const packed = (byte() << 8) + byte() + 1;
      if (control >= 0xc0) {
        lzma.setProperties(byte());
        needProperties = false;
      } else if (needProperties) fail(`the chunk at byte ${lzma.inPos} has no properties`);
      if (control >= 0xa0) {
        lzma.resetState();
        needState = false;
      } else if (needState) fail(`the chunk at byte ${lzma.inPos} does not reset the state`);
      lzma.decode(size, packed, 'exact');
    } else {
      if (control > 2) fail(`chunk type ${control} at byte ${lzma.inPos - 1}`);
      copy(lzma, (byte() << 8) + byte() + 1);
      needState = needState || control === 1;
    }
  }
}

/** An uncompressed chunk of `size` bytes. */
function copy(lzma: LzmaDecoder, size: number): void {
  const { input, output, inPos, outPos } = lzma;
  if (inPos + size > input.length) fail(`it ends inside an uncompressed chunk at byte ${inPos}`);
  if (outPos + size > output.length) fail(`it unpacks to more than ${output.length} bytes`);
  output.set(input.subarray(inPos, inPos + size), outPos);
  lzma.inPos += size;
  lzma.outPos += size;
}
