/**
 * The nodes of the store: a value, permissions, children and a generation each (docs/misc/xenstore.txt).
 *
 * Invariants: every node except the root and the special `@` nodes stands once in its parent's `children`, in order of
 * creation, which is the order DIRECTORY shows; nodes are values and never changed in place, so a transaction's copy of the
 * map is a snapshot; every change takes a new generation, and generations never repeat.
 */
import { bytes, type Infer, integer, list, map, string, struct, u8, u16 } from '../../core/schema.ts';

/** Rights of one permission entry; `owner` is never stored, only computed. */
export const ACCESS = { none: 0, read: 1, write: 2, owner: 8 } as const;
/** The domain id that stands for every domain (DOMID_ANY). */
export const ANY_DOMAIN = 0x7ff5;

export const permission = struct({ domain: u16, access: u8 });
export type Permission = Infer<typeof permission>;

const node = struct({
  value: bytes,
  /** The first entry names the owner and the default rights of everybody else. */
  permissions: list(permission),
  children: list(string),
  generation: integer,
});
export type Node = Infer<typeof node>;

export const nodes = map(string, node);
export type Nodes = Infer<typeof nodes>;

/** Longest path after `/local/domain/N/`, and longest path at all (xs_wire.h). */
const PATH_MAX = { relative: 2048, absolute: 3072 } as const;

const PATH_CHARACTERS = /^[A-Za-z0-9\-/_@]+$/;

/** The absolute form of `text` as domain `domain` sends it, or null where xenstored answers EINVAL. */
export function canonicalPath(text: string, domain: number, allowSpecial: boolean): string | null {
  if (!PATH_CHARACTERS.test(text) || (text.startsWith('@') && !allowSpecial)) return null;
  const path = text.startsWith('/') || text.startsWith('@') ? text : `/local/domain/${domain}/${text}`;
  if ((path.endsWith('/') && path !== '/') || path.includes('//')) return null;
  const prefix = /^\/local\/domain\/\d{1,5}\//.exec(path)?.[0].length ?? 0;
  return path.length - prefix > PATH_MAX.relative || path.length > PATH_MAX.absolute ? null : path;
}

/** The path one level up; special nodes count as children of the root. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}

/** The last component of `path`, which must not be the root. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** `path` is `above` or lies below it. */
export const isBelow = (path: string, above: string): boolean =>
  path === above || (above === '/' ? path.startsWith('/') : path.startsWith(`${above}/`));

/** The rights of `domain` under `permissions`; the owner and domain 0 have all. */
export function accessOf(permissions: readonly Permission[], domain: number): number {
  const all = ACCESS.read | ACCESS.write | ACCESS.owner;
  const first = permissions[0]!;
  if (domain === 0 || first.domain === domain || first.domain === ANY_DOMAIN) return all;
  const entry = permissions.slice(1).find((p) => p.domain === domain || p.domain === ANY_DOMAIN);
  return (entry ?? first).access;
}

/** Where a request reads and writes nodes: the live tree, or a transaction's copy that notes what was touched. */
export interface NodeAccess {
  get(path: string): Node | null;
  /** Stores a node; its generation is replaced by a new one. */
  put(path: string, value: Node): void;
  delete(path: string): void;
}

/** Writes `value` at `path` and makes missing parents; new nodes inherit permissions, owned by the domain that made them. */
export function writeNode(tree: NodeAccess, path: string, value: Uint8Array, domain: number): void {
  const old = tree.get(path);
  if (old !== null) {
    tree.put(path, { ...old, value });
    return;
  }
  const parent = linkChild(tree, path, domain);
  const [first, ...others] = parent.permissions;
  const owner = domain === 0 ? first!.domain : domain;
  const permissions = [{ domain: owner, access: first!.access }, ...others];
  tree.put(path, { value, permissions, children: [], generation: 0 });
}

/** Enters `path` into its parent's children, making the parent if need be, and returns the parent. */
function linkChild(tree: NodeAccess, path: string, domain: number): Node {
  const above = parentPath(path);
  if (tree.get(above) === null) writeNode(tree, above, new Uint8Array(0), domain);
  const parent = tree.get(above)!;
  const linked = { ...parent, children: [...parent.children, baseName(path)] };
  tree.put(above, linked);
  return linked;
}

/** Removes the node at `path` with all below it; `removing` sees each path while it still exists, children first. */
export function removeNode(tree: NodeAccess, path: string, removing: (path: string) => void): void {
  const removeBelow = (at: string): void => {
    for (const child of tree.get(at)!.children) removeBelow(`${at}/${child}`);
    removing(at);
    tree.delete(at);
  };
  removeBelow(path);
  const above = parentPath(path);
  const parent = tree.get(above)!;
  tree.put(above, { ...parent, children: parent.children.filter((child) => child !== baseName(path)) });
}

const LETTERS = ['n', 'r', 'w', 'b'] as const;

/** A permission as the wire writes it: `r1`. */
export const permissionText = (p: Permission): string => `${LETTERS[p.access & 3]}${p.domain}`;

/** The permission `text` stands for, or null when malformed. */
export function parsePermission(text: string): Permission | null {
  const match = /^([nrwb])(\d+)$/.exec(text);
  if (match === null) return null;
  const domain = Number(match[2]);
  return domain > 0xffff ? null : { domain, access: LETTERS.indexOf(match[1] as (typeof LETTERS)[number]) };
}
