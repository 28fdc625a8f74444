/**
 * What the toolstack puts into the store for a PV domain without devices (tools/libs/light/libxl_create.c, libxl_dom.c,
 * libxl_console.c), in its order.
 *
 * Left out: `start_time` below /vm (the host's clock) and /libxl (no guest can read it).
 */
import { ACCESS, ANY_DOMAIN, type NodeAccess, type Permission, writeNode } from './tree.ts';
import { bytesOf } from './wire.ts';

/** What the nodes tell about the domain. Memory in KiB. */
export interface DomainNodes {
  readonly name: string;
  /** 8-4-4-4-12 hexadecimal digits. */
  readonly uuid: string;
  readonly memoryKib: number;
  readonly vcpus: number;
  readonly commandLine: string;
  readonly console: { readonly frame: number; readonly port: number };
}

/** Base path of a domain, to which its relative paths are relative. */
export const domainPath = (domain: number): string => `/local/domain/${domain}`;

/** Permissions the toolstack gives: none for domain 0's own, readable by, or owned by the domain. */
const PERMISSIONS = {
  private: (): Permission[] => [{ domain: 0, access: ACCESS.none }],
  readable: (domain: number): Permission[] => [
    { domain: 0, access: ACCESS.none },
    { domain, access: ACCESS.read },
  ],
  owned: (domain: number): Permission[] => [{ domain, access: ACCESS.none }],
  console: (domain: number): Permission[] => [
    { domain, access: ACCESS.none },
    { domain: 0, access: ACCESS.read },
  ],
} as const;

/** Nodes that belong to the domain: it may write them and make nodes below. */
const OWNED = [
  'device/suspend/event-channel',
  'control/shutdown',
  'control/feature-poweroff',
  'control/feature-reboot',
  'control/feature-suspend',
  'control/sysrq',
  'data',
  'drivers',
  'feature',
  'attr',
  'error',
] as const;
const READABLE = ['cpu', 'memory', 'device', 'control'] as const;

/** Writes as domain 0 would: parents are made and inherit permissions. */
export function writeText(tree: NodeAccess, path: string, value: string, permissions?: Permission[]): void {
  writeNode(tree, path, bytesOf(value), 0);
  if (permissions !== undefined) tree.put(path, { ...tree.get(path)!, permissions });
}

/** The nodes of a fresh store, before any domain but 0. */
export function createStore(tree: NodeAccess): void {
  tree.put('/', { value: new Uint8Array(0), permissions: PERMISSIONS.private(), children: [], generation: 0 });
  writeText(tree, '/tool/xenstored', '');
  for (const [name, extra] of [
    ['@releaseDomain', [{ domain: ANY_DOMAIN, access: ACCESS.read }]],
    ['@introduceDomain', []],
  ] as const)
    tree.put(name, {
      value: new Uint8Array(0),
      permissions: [...PERMISSIONS.private(), ...extra],
      children: [],
      generation: 0,
    });
  writeText(tree, `${domainPath(0)}/domid`, '0');
  writeText(tree, `${domainPath(0)}/name`, 'Domain-0');
}

/** The nodes of domain `domain` that do not depend on its builder. */
export function createDomain(tree: NodeAccess, domain: number, name: string, uuid: string): void {
  const home = domainPath(domain);
  const vm = `/vm/${uuid}`;
  const readable = PERMISSIONS.readable(domain);
  writeText(tree, home, '', readable);
  writeText(tree, vm, '', readable);
  writeText(tree, `${home}/vm`, vm);
  writeText(tree, `${home}/name`, name);
  for (const node of READABLE) writeText(tree, `${home}/${node}`, '', readable);
  for (const node of OWNED) writeText(tree, `${home}/${node}`, '', PERMISSIONS.owned(domain));
  writeText(tree, `${vm}/uuid`, uuid);
  writeText(tree, `${vm}/name`, name);
  writeText(tree, `${home}/control/platform-feature-multiprocessor-suspend`, '1');
  writeText(tree, `${home}/control/platform-feature-xs_reset_watches`, '1');
  writeText(tree, `${home}/domid`, String(domain));
}

/** The nodes that the built domain adds: memory, processors, image and console. */
export function describeDomain(tree: NodeAccess, domain: number, what: DomainNodes): void {
  const home = domainPath(domain);
  const vm = `/vm/${what.uuid}`;
  writeText(tree, `${home}/memory/static-max`, String(what.memoryKib));
  writeText(tree, `${home}/memory/target`, String(what.memoryKib));
  writeText(tree, `${home}/memory/videoram`, '0');
  for (let cpu = 0; cpu < what.vcpus; cpu++) writeText(tree, `${home}/cpu/${cpu}/availability`, 'online');
  writeText(tree, `${vm}/image/ostype`, 'linux');
  writeText(tree, `${vm}/image/cmdline`, what.commandLine);

  const front = `${home}/console`;
  const back = `${domainPath(0)}/backend/console/${domain}/0`;
  writeText(tree, front, '', PERMISSIONS.readable(domain));
  writeText(tree, `${front}/backend`, back);
  writeText(tree, `${front}/backend-id`, '0', PERMISSIONS.console(domain));
  for (const [key, value] of [
    ['limit', '1048576'],
    ['type', 'xenconsoled'],
    ['output', 'pty'],
    ['tty', ''],
    ['port', String(what.console.port)],
    ['ring-ref', String(what.console.frame)],
  ] as const)
    writeText(tree, `${front}/${key}`, value, PERMISSIONS.readable(domain));
  writeText(tree, back, '', PERMISSIONS.readable(domain));
  for (const [key, value] of [
    ['frontend', front],
    ['frontend-id', String(domain)],
    ['online', '1'],
    ['state', '1'],
    ['protocol', 'vt100'],
  ] as const)
    writeText(tree, `${back}/${key}`, value);
}
