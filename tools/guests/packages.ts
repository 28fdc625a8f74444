/**
 * Debian packages without root: `apt-get download` into a folder of ours, unpacked by `dpkg-deb -x`, nothing installed.
 * The host's own package lists serve when they know the packages; otherwise private lists of Debian 12 are fetched.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The kernel that the reference traces were taken from, and the family that may stand in for it. */
const KERNEL = 'linux-image-6.1.0-56-amd64';
/** Flavours of the kernel by architecture. */
const KERNEL_FLAVOUR = { amd64: 'amd64', i386: '686' } as const;
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const source = (mirror: string, suite: string): string => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main`;
const PRIVATE_SOURCES = [
  source('https://deb.debian.org/debian', 'bookworm'),
  source('https://deb.debian.org/debian-security', 'bookworm-security'),
];
/** The mirror of one of Debian's archives that this host uses, or the one everybody may. */
function mirrorOf(archive: 'debian' | 'debian-security'): string {
  const known = run('apt-get', ['indextargets', '--format', '$(REPO_URI)']).split('\n');
  return known.find((uri) => uri.replace(/\/$/, '').endsWith(`/${archive}`)) ?? `https://deb.debian.org/${archive}`;
}
/** A suite and its security updates, which what is not released has none of. */
const sourcesOf = (suite: string): string[] => [
  source(mirrorOf('debian'), suite),
  ...(suite === 'sid' ? [] : [source(mirrorOf('debian-security'), `${suite}-security`)]),
];

/** One unpacked package: `root` is the folder that holds its file tree. */
export interface UnpackedPackage {
  name: string;
  version: string;
  root: string;
}

/** Architectures that guests may have. */
export type Architecture = keyof typeof KERNEL_FLAVOUR;

/** Builds of the kernel for amd64. */
export const FLAVOURS = ['amd64', 'cloud-amd64', 'rt-amd64'] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** Where packages come from and go to; those of another architecture than amd64 always by lists of our own. */
export class PackageSource {
  readonly #folder: string;
  readonly #log: (line: string) => void;
  readonly #architecture: Architecture;
  readonly #options: string[] = [];

  constructor(
    folder: string,
    log: (line: string) => void,
    architecture: Architecture = 'amd64',
    suite: string | null = null,
  ) {
    this.#folder = folder;
    this.#log = log;
    this.#architecture = architecture;
    mkdirSync(folder, { recursive: true });
    for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb']) {
      if (!run('sh', ['-c', `command -v ${tool}`]))
        throw new Error(
          `${tool} is not on this host: the guests are made of Debian packages, so Debian's apt and dpkg are needed`,
        );
    }
    // Old lists name an old kernel, of which the tests know less.
    if (suite === null && architecture === 'amd64' && this.#knows('grub-xen-bin') && this.#knows(KERNEL)) return;
    this.#usePrivateLists(suite === null ? PRIVATE_SOURCES : sourcesOf(suite));
    if (suite === null && this.newestKernel() === null)
      throw new Error(`Debian 12 has no linux-image-6.1.0-*-${KERNEL_FLAVOUR[this.#architecture]}`);
  }

  /** The packages of another suite than the host's, by lists of our own. */
  static ofSuite(folder: string, log: (line: string) => void, suite: string): PackageSource {
    return new PackageSource(folder, log, 'amd64', suite);
  }
  /** The newest kernel of a flavour in each series (5.10, 6.1) by the lists: versions as they stand in the packages' names, ascending. */
  newestVersions(flavour: Flavour): string[] {
    const wanted = new RegExp(`^linux-image-(\\d+\\.\\d+\\.\\d+[^-]*(?:-\\d+)?)-${flavour}$`);
    const versions = this.#cache(['pkgnames', 'linux-image-'])
      .split('\n')
      .flatMap((name) => wanted.exec(name)?.[1] ?? []);
    const ascending = versions.sort(new Intl.Collator('en', { numeric: true }).compare);
    const seriesOf = (version: string): string => /^\d+\.\d+/.exec(version)?.[0] ?? version;
    return [...new Map(ascending.map((version) => [seriesOf(version), version])).values()];
  }
  /** The kernel image of a version, from its own package or from the one of binaries that newer suites have beside it. */
  kernelImage(version: string, flavour: Flavour): { path: string; version: string } {
    for (const kind of ['linux-image', 'linux-binary']) {
      const unpacked = this.unpack(`${kind}-${version}-${flavour}`);
      const found = readdirSync(unpacked.root, { recursive: true, encoding: 'utf8' }).find((path) =>
        /(^|\/)vmlinuz[^/]*$/.test(path),
      );
      if (found !== undefined) return { path: join(unpacked.root, found), version: unpacked.version };
    }
    throw new Error(`no vmlinuz in the packages of ${version}-${flavour}`);
  }

  /** The kernel package of the traces, else the newest of its family; null when the lists hold none. */
  newestKernel(): string | null {
    if (this.#architecture === 'amd64' && this.#knows(KERNEL)) return KERNEL;
    const family = new RegExp(`^linux-image-6\\.1\\.0-(\\d+)-${KERNEL_FLAVOUR[this.#architecture]}$`);
    const numberOf = (name: string): number => Number(family.exec(name)?.[1] ?? -1);
    const names = this.#cache(['pkgnames', 'linux-image-6.1.0-']).split('\n');
    const newest = names.reduce((best, name) => (numberOf(name) > numberOf(best) ? name : best), '');
    return newest === '' ? null : newest;
  }

  /** Downloads and unpacks the package unless both are done already; throws with apt's words when it cannot. */
  unpack(name: string): UnpackedPackage {
    const root = join(this.#folder, name);
    if (!existsSync(root)) {
      const archive = this.#archiveOf(name) ?? this.#download(name);
      this.#log(`unpacking ${name}`);
      const unfinished = `${root}.unfinished`;
      rmSync(unfinished, { recursive: true, force: true });
      execFileSync('dpkg-deb', ['-x', archive, unfinished]);
      renameSync(unfinished, root);
    }
    const archive = this.#archiveOf(name);
    const version =
      archive === null ? 'unknown' : execFileSync('dpkg-deb', ['-f', archive, 'Version']).toString().trim();
    return { name, version, root };
  }

  #archiveOf(name: string): string | null {
    const file = readdirSync(this.#folder).find((entry) => entry.startsWith(`${name}_`) && entry.endsWith('.deb'));
    return file === undefined ? null : join(this.#folder, file);
  }

  #download(name: string): string {
    this.#log(`downloading ${name}`);
    // apt writes the archive under its final name; a folder of its own keeps a torn download from counting.
    const unfinished = join(this.#folder, `${name}.download`);
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished);
    const sandbox = ['-o', 'APT::Sandbox::User=']; // run as root, apt would change to a user who cannot write here
    execFileSync('apt-get', [...this.#options, ...sandbox, '-qq', 'download', name], {
      cwd: unfinished,
      stdio: ['ignore', 2, 2],
    });
    const file = readdirSync(unfinished).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) throw new Error(`apt-get download ${name} left no package`);
    renameSync(join(unfinished, file), join(this.#folder, file));
    rmSync(unfinished, { recursive: true });
    return join(this.#folder, file);
  }

  #cache(args: string[]): string {
    return run('apt-cache', [...this.#options, ...args]);
  }

  #knows(name: string): boolean {
    return this.#cache(['policy', name]).match(/Candidate: (?!\(none\))/) !== null;
  }

  #usePrivateLists(sources: readonly string[]): void {
    this.#log(`fetching package lists for ${this.#architecture} privately: this host's do not serve`);
    if (!existsSync(KEYRING))
      throw new Error(
        `${KEYRING} is missing, so Debian's packages cannot be verified: install debian-archive-keyring or run apt-get update on Debian 12`,
      );
    const apt = join(this.#folder, 'apt');
    for (const path of ['lists/partial', 'cache/archives/partial', 'parts'])
      mkdirSync(join(apt, path), { recursive: true });
    writeFileSync(join(apt, 'sources.list'), `${sources.join('\n')}\n`);
    writeFileSync(join(apt, 'status'), '');
    const settings = {
      'Dir::Etc::sourcelist': join(apt, 'sources.list'),
      'Dir::Etc::sourceparts': join(apt, 'parts'),
      'Dir::State::lists': join(apt, 'lists'),
      'Dir::State::status': join(apt, 'status'),
      'Dir::Cache': join(apt, 'cache'),
      'APT::Architecture': this.#architecture,
      'APT::Architectures::': this.#architecture,
      'APT::Sandbox::User': '',
    };
    this.#options.push(...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]));
    try {
      execFileSync('apt-get', [...this.#options, '-qq', 'update'], { stdio: ['ignore', 2, 2] });
    } catch {
      this.#log('apt-get update failed for a part of the lists: what it did get has to do');
    }
  }
}

/** Standard output of a query; empty when it fails. */
function run(command: string, args: string[]): string {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 28 }).toString();
  } catch {
    return '';
  }
}
