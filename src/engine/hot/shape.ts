/**
 * The control flow of a region: blocks in the order they are written, nested intervals of them for loops.
 *
 * A loop interval runs from the target of a back edge to the last block that branches there; intervals nest. A loop is
 * entered at its first block unless it dispatches, which it does when a branch from outside leads elsewhere. An interval with an
 * entry behind its first block is no loop: what comes in through the loop around the region would have to dispatch at each
 * loop on its way, so branches back go through the loop around as well.
 */

/** What the shape needs to know of a block: numbers of its static successors and whether it may be entered from outside. */
interface Vertex {
  readonly successors: readonly number[];
  readonly entry: boolean;
}

/** A block (first = last, no items) or a loop. */
export interface Part {
  readonly loop: boolean;
  readonly first: number;
  readonly last: number;
  readonly parts: readonly Part[];
  /** Its code begins with a jump to the block whose number waits in the block parameter. */
  readonly dispatches: boolean;
}

interface Interval {
  first: number;
  last: number;
}

function loopIntervals(vertices: readonly Vertex[]): Interval[] {
  const ends = new Map<number, number>();
  for (const [from, { successors }] of vertices.entries())
    for (const to of successors) if (to <= from) ends.set(to, Math.max(ends.get(to) ?? -1, from));
  const intervals = [...ends].map(([first, last]) => ({ first, last }));
  for (let changed = true; changed; ) {
    changed = false;
    for (const a of intervals)
      for (const b of intervals)
        if (a.first < b.first && b.first <= a.last && a.last < b.last) {
          a.last = b.last;
          changed = true;
        }
  }
  return intervals.sort((a, b) => a.first - b.first);
}

/** The parts of a region. */
export function shapeOf(vertices: readonly Vertex[]): readonly Part[] {
  const loops = new Map(loopIntervals(vertices).map((x) => [x.first, x.last]));
  const outside = new Map<number, number[]>();
  for (const [from, { successors }] of vertices.entries())
    for (const to of successors) outside.set(to, [...(outside.get(to) ?? []), from]);

  const within = (first: number, last: number): number[] =>
    Array.from({ length: last - first }, (_, i) => first + 1 + i);
  const isEntered = (first: number, last: number): boolean => within(first, last).some((n) => vertices[n]!.entry);
  const dispatches = (first: number, last: number): boolean =>
    within(first, last).some((n) => outside.get(n)?.some((from) => from < first || from > last));
  const build = (first: number, last: number, inside: boolean): Part[] => {
    const parts: Part[] = [];
    for (let n = first; n <= last; ) {
      const end = inside && n === first ? undefined : loops.get(n);
      if (end === undefined || isEntered(n, end)) {
        parts.push({ loop: false, first: n, last: n, parts: [], dispatches: false });
        n++;
      } else {
        parts.push({ loop: true, first: n, last: end, parts: build(n, end, true), dispatches: dispatches(n, end) });
        n = end + 1;
      }
    }
    return parts;
  };
  return build(0, vertices.length - 1, false);
}
