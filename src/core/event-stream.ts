/**
 * A stream of typed events to any number of subscribers: how whoever watches a machine sees what happens in it.
 *
 * Invariants: subscribers are told in the order of their coming; telling changes nothing of what is watched; an event of a kind
 * that nobody wants need not be made ({@link EventStream.wants}).
 */

export class EventStream<E extends { readonly kind: string }> {
  readonly #listeners = new Map<string, ReadonlyArray<(event: never) => void>>();

  /** Whether anybody listens to events of a kind. */
  wants(kind: E['kind']): boolean {
    return this.#listeners.has(kind);
  }
  /** Tells `listener` of every event of a kind from now on; returns what ends that. */
  on<K extends E['kind']>(kind: K, listener: (event: Extract<E, { readonly kind: K }>) => void): () => void {
    const own = (event: never): void => listener(event);
    this.#listeners.set(kind, [...(this.#listeners.get(kind) ?? []), own]);
    return () => {
      const left = (this.#listeners.get(kind) ?? []).filter((other) => other !== own);
      if (left.length > 0) this.#listeners.set(kind, left);
      else this.#listeners.delete(kind);
    };
  }
  tell(event: E): void {
    const listeners = this.#listeners.get(event.kind);
    if (listeners === undefined) return;
    for (const listener of listeners) listener(event as never);
  }
}
