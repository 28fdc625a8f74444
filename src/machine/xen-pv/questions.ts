/** Functions of predicates about what Xen holds: `type(mfn) == "l1"`, `pending(port)`, `masked(port)`. */
import { AMD64 } from '../../xen/abi/structures.ts';
import { PGT, TYPE_NAMES } from '../../xen/mm/page-info.ts';
import type { XenPv } from '../../xen/pv/pv.ts';
import type { Look, Question } from '../explanation.ts';

const { at: SHARED } = AMD64.sharedInfo;
/** PGT_* types are the upper three bits. */
const TYPE_SHIFT = 29;
const PORTS = BigInt((SHARED.evtchn_mask - SHARED.evtchn_pending) * 8);

/** The type that Xen holds for a frame, `none` where nobody uses it as any; null where the machine has no such frame. */
export function frameType(xen: XenPv, frame: bigint): string | null {
  const { frames } = xen.mm.domain;
  if (frame < 0n || frame >= BigInt(frames.limit)) return null;
  const info = frames.type(Number(frame));
  return (info & PGT.countMask) === 0 ? 'none' : (TYPE_NAMES[info >>> TYPE_SHIFT] ?? null);
}

export function questions(xen: XenPv): Map<string, Question> {
  const bit = (bitmap: number, test: (port: number) => boolean): Question => ({
    limit: PORTS,
    answers: 1n,
    ask(of: bigint, look: Look) {
      const port = Number(of);
      look.note(xen.sharedInfo + bitmap + (port >> 3), 1);
      return test(port);
    },
  });
  const frames = BigInt(xen.mm.domain.frames.limit);
  return new Map<string, Question>([
    ['type', { limit: frames, answers: TYPE_NAMES, changes: ['type'], ask: (frame) => frameType(xen, frame) }],
    ['pending', bit(SHARED.evtchn_pending, (port) => xen.events.isPending(port))],
    ['masked', bit(SHARED.evtchn_mask, (port) => xen.events.isMasked(port))],
  ]);
}
