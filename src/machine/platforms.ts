/** The kinds of platform that there are. A platform is a folder beside this file and a row here. */
import { EmulatorError } from '../core/errors.ts';
import { IDT } from './idt/kind.ts';
import type { PlatformKind } from './platform-kind.ts';
import { XEN_PV } from './xen-pv/kind.ts';

/** By id. */
export type Platforms = ReadonlyMap<string, PlatformKind>;

export const PLATFORMS: Platforms = new Map([XEN_PV, IDT].map((kind) => [kind.id, kind]));
/** What a recording is made on unless asked otherwise. */
export const DEFAULT_PLATFORM = XEN_PV.id;

/** The kind of an id; E_SEMANTICS where this version has none. */
export function kindOf(id: string, platforms = PLATFORMS): PlatformKind {
  const kind = platforms.get(id);
  if (kind === undefined) throw new EmulatorError('E_SEMANTICS', `this version has no platform ${JSON.stringify(id)}`);
  return kind;
}
