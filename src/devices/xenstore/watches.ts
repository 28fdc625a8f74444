/**
 * Watches of the domain: registration order is firing order.
 *
 * Invariant: a watch fires for its own path or one below it, and only where the domain can read the node or its parent.
 */
import { type Infer, integer, string, struct } from '../../core/schema.ts';
import { EVENT, type EventScope } from './transactions.ts';
import { ACCESS, accessOf, isBelow, type Node, type Permission } from './tree.ts';

export const watch = struct({
  /** Absolute path or special name. */
  path: string,
  token: string,
  /** Characters of a reported path to leave out: the watch was registered by a relative path. */
  prefix: integer,
});
export type Watch = Infer<typeof watch>;

/** The path a watch event reports for a change at `path`. */
export const reportedPath = (w: Watch, path: string): string => path.slice(w.prefix);

/** `watch` is concerned by a change of `scope` at `path`. */
export const matches = (w: Watch, path: string, scope: EventScope): boolean =>
  scope === EVENT.exact ? w.path === path : isBelow(path, w.path);

/** `domain` may know of a change: it can read the node, could read it before, or can read its parent. */
export function mayKnow(domain: number, now: Node | null, before: readonly Permission[], parent: Node | null): boolean {
  const readable = (permissions: readonly Permission[] | undefined): boolean =>
    permissions !== undefined && permissions.length > 0 && (accessOf(permissions, domain) & ACCESS.read) !== 0;
  return readable(before) || readable(now?.permissions) || (now !== null && readable(parent?.permissions));
}
