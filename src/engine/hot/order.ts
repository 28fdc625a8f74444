/** The order of a region's blocks: that of their addresses, but only loops branch backwards, wherever the compiler put their parts. */

/** An order of vertices. */
interface ForwardOrder {
  /** Every vertex once. */
  readonly order: readonly number[];
  /** The vertices to which an edge leads back. */
  readonly heads: ReadonlySet<number>;
}

/**
 * All vertices of a graph in an order in which edges lead forwards, those aside that close a cycle for a search in depth from the
 * first vertex on. Where that leaves a choice the lower number comes first.
 */
export function forwardOrder(successors: ReadonlyArray<readonly number[]>): ForwardOrder {
  const closing = closingEdges(successors);
  const waits = new Int32Array(successors.length);
  for (const [from, list] of successors.entries()) for (const to of list) if (!closing[from]!.has(to)) waits[to]!++;
  const order: number[] = [];
  while (order.length < successors.length) {
    const next = waits.indexOf(0);
    waits[next] = -1;
    order.push(next);
    for (const to of successors[next]!) if (!closing[next]!.has(to)) waits[to]!--;
  }
  return { order, heads: new Set(closing.flatMap((x) => [...x])) };
}

/**
 * Whether the vertex at position `at` of an order lies behind the head of a loop that has no other entry: `entries` tells of each
 * position whether it is one.
 */
export function isInLoop(
  order: readonly number[],
  successors: ReadonlyArray<readonly number[]>,
  entries: readonly boolean[],
  at: number,
): boolean {
  const positions = new Map(order.map((id, position) => [id, position]));
  const leadsBack =
    (last: number) =>
    (to: number): boolean => {
      const head = positions.get(to)!;
      return head < at && !entries.slice(head + 1, last + 1).includes(true);
    };
  return order.some((id, last) => last >= at && successors[id]!.some(leadsBack(last)));
}

/** By vertex, the successors through which a search in depth came at it. */
function closingEdges(successors: ReadonlyArray<readonly number[]>): ReadonlyArray<ReadonlySet<number>> {
  const closing = successors.map(() => new Set<number>());
  const NEW = 0;
  const OPEN = 1;
  const DONE = 2;
  const states = new Uint8Array(successors.length);
  for (let root = 0; root < successors.length; root++) {
    if (states[root] !== NEW) continue;
    states[root] = OPEN;
    const path = [{ vertex: root, visited: 0 }];
    while (path.length > 0) {
      const top = path.at(-1)!;
      const next = successors[top.vertex]![top.visited++];
      if (next === undefined) {
        states[top.vertex] = DONE;
        path.pop();
      } else if (states[next] === OPEN) closing[top.vertex]!.add(next);
      else if (states[next] === NEW) {
        states[next] = OPEN;
        path.push({ vertex: next, visited: 0 });
      }
    }
  }
  return closing;
}
