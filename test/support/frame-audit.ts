/**
 * Counts every reference to a frame anew, from the page tables, pins, allocations and what the hypervisor says it holds, and
 * compares with the frame table.
 */
import type { Domain } from '../../src/xen/domain.ts';
import { levelOf, OWNER, PGC, PGT, TYPE_NAMES, typeInfoText } from '../../src/xen/mm/page-info.ts';
import type { HeldReference } from '../../src/xen/pv/held-references.ts';

const P = 1n;
const RW = 2n;
const US = 4n;

/** What is out of order, one line each; empty when every count is the references that exist. */
export function auditFrames(d: Domain, held: Iterable<Pick<HeldReference, 'frame' | 'type' | 'general'>>): string[] {
  const { frames, memory, layout } = d;
  const wrong: string[] = [];
  const types = new Map<number, number>();
  const refs = new Map<number, number>();
  const add = (map: Map<number, number>, mfn: number): void => void map.set(mfn, (map.get(mfn) ?? 0) + 1);
  const expectType = (mfn: number, type: number, who: string): void => {
    if ((frames.type(mfn) & PGT.typeMask) !== type)
      wrong.push(`${mfn}: ${who} needs ${TYPE_NAMES[type >>> 29]}, the type is ${typeInfoText(frames.type(mfn))}`);
  };
  const isMemory = (mfn: number): boolean => mfn >= layout.heapBase && mfn < layout.frameLimit;
  for (const { frame, type, general } of held) {
    if (general) add(refs, frame);
    add(types, frame);
    expectType(frame, type, 'a holder');
  }
  const auditEntry = (table: number, level: number, index: number): void => {
    const entry = memory.read64(table * 4096 + index * 8);
    if ((entry & P) === 0n) return;
    if ((entry & US) === 0n) wrong.push(`${table}[${index}]: the user bit is clear`);
    const target = Number((entry >> 12n) & 0xffffffffffn);
    if (!isMemory(target)) {
      wrong.push(`${table}[${index}]: names frame ${target}`);
      return;
    }
    const writable = (entry & RW) !== 0n;
    if (level > 1 && target === table) {
      if (writable) wrong.push(`${table}[${index}]: maps itself writable`);
      return;
    }
    add(refs, target);
    if (level > 1 || writable) add(types, target);
    if (level === 1 && writable) expectType(target, PGT.writable, `${table}[${index}]`);
    if (level > 1 && ![level - 1, level].includes(levelOf(frames.type(target))))
      wrong.push(`${table}[${index}]: level ${level} names a frame of type ${typeInfoText(frames.type(target))}`);
  };
  for (let mfn = layout.heapBase; mfn < layout.frameLimit; mfn++) {
    const info = frames.type(mfn);
    const level = levelOf(info);
    if (info & PGT.pinned) for (const map of [types, refs]) add(map, mfn);
    if (frames.count(mfn) & PGC.allocated && frames.owner(mfn) === OWNER.domain) add(refs, mfn);
    if (level === 0 || (info & PGT.countMask) === 0) continue;
    if ((info & PGT.validated) === 0) wrong.push(`${mfn}: in use before it is validated`);
    for (let i = 0; i < 512; i++) if (level < 4 || i < 256 || i > 271) auditEntry(mfn, level, i);
  }
  for (let mfn = layout.heapBase; mfn < layout.frameLimit; mfn++) {
    // a page of Xen's own has the references it was made with
    if (frames.owner(mfn) === OWNER.xen) continue;
    const type = frames.type(mfn) & PGT.countMask;
    const count = frames.count(mfn) & PGC.countMask;
    if (type !== (types.get(mfn) ?? 0)) wrong.push(`${mfn}: type count ${type}, references ${types.get(mfn) ?? 0}`);
    if (count !== (refs.get(mfn) ?? 0)) wrong.push(`${mfn}: count ${count}, references ${refs.get(mfn) ?? 0}`);
  }
  return wrong;
}
