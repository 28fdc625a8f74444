/** The JSON of `--json`: 64-bit values as `0x` strings, what is absent as null, one value and a line end. */
import { hex, u64 } from '../core/units.ts';
import { visibleJson } from './visible.ts';

/**
 * `value` as one line; bigint becomes `0x...` (a negative one as a register holds it), undefined null, bytes hexadecimal. Strings are as they
 * are, whatever they are of: no character of theirs reaches a terminal as a control.
 */
export function toJson(value: unknown): string {
  const json = JSON.stringify(value, (_, v: unknown) => {
    if (typeof v === 'bigint') return hex(v < 0n ? u64(v) : v);
    if (v === undefined || (typeof v === 'number' && !Number.isFinite(v))) return null;
    if (v instanceof Uint8Array) return Buffer.from(v).toString('hex');
    return v;
  });
  return `${visibleJson(json)}\n`;
}
