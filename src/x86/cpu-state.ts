/**
 * The architectural state of a vCPU as bytes: what snapshots keep and hashes cover. Engine slots are left out; the lazy
 * arithmetic flags appear as the RFLAGS word they stand for.
 */
import { Reader, Writer } from '../core/schema.ts';
import type { Cpu } from './cpu.ts';
import { type SlotInfo, type SlotName, STATE, STATE_BYTES } from './state.ts';
import { setCodeMode } from './system/descriptors.ts';

const SLOTS: ReadonlyArray<readonly [SlotName, SlotInfo]> = (
  Object.entries(STATE) as Array<[SlotName, SlotInfo]>
).filter(([, info]) => info.architectural);
const WIDTH = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 } as const;

/** The architectural slots in declaration order, neighbours in memory taken together; RFLAGS stands alone. */
const STRETCHES: ReadonlyArray<'rflags' | { readonly from: number; readonly to: number }> = SLOTS.reduce(
  (stretches, [name, { offset, count, type }]) => {
    const before = stretches.at(-1);
    const to = offset + count * WIDTH[type];
    if (name === 'rflags') stretches.push(name);
    else if (typeof before === 'object' && before.to === offset) before.to = to;
    else stretches.push({ from: offset, to });
    return stretches;
  },
  [] as Array<'rflags' | { from: number; to: number }>,
);

/** The architectural state in declaration order. */
export function encodeCpu(cpu: Cpu): Uint8Array {
  const w = new Writer();
  const bytes = new Uint8Array(cpu.view.buffer, cpu.base, STATE_BYTES);
  for (const stretch of STRETCHES)
    if (stretch === 'rflags') w.u32(cpu.rflags);
    else w.bytes(bytes.subarray(stretch.from, stretch.to));
  return w.finish();
}

/** Restores what {@link encodeCpu} wrote; engine slots become zero and must be rebuilt. */
export function decodeCpu(cpu: Cpu, data: Uint8Array): void {
  const r = new Reader(data);
  cpu.clear();
  for (const [name, info] of SLOTS) {
    if (name === 'rflags') {
      cpu.rflags = r.u32();
      continue;
    }
    const at = cpu.base + info.offset;
    new Uint8Array(cpu.view.buffer, at, info.count * WIDTH[info.type]).set(r.bytes(info.count * WIDTH[info.type]));
  }
  setCodeMode(cpu);
  if (!r.done) throw new RangeError('vCPU section has bytes left over');
}
