/** Machines of packed kernels: the same as of unpacked ones, and unpacked once. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtRun, cacheFolder } from '../../src/cli/local/built-run.ts';
import { inflate } from '../../src/cli/local/inflate.ts';
import type { Inflate } from '../../src/core/inflate.ts';
import type { MachineConfig } from '../../src/machine/config.ts';
import { DerivedCache } from '../../store/derived-cache.ts';
import { errorOf } from '../support/error.ts';
import { failingBoot } from '../support/time-travel.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-kernels-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The failing boot as a gzip file, and how often it has been unpacked. */
function packed(): { config: MachineConfig; unpacked: () => number } {
  const config = failingBoot();
  let count = 0;
  const counted: Inflate = (...request) => {
    count++;
    return inflate(...request);
  };
  const kernel = new Uint8Array(gzipSync(config.images.kernel!));
  return { config: { ...config, images: { kernel }, inflate: counted }, unpacked: () => count };
}

describe('a packed kernel', () => {
  it('is unpacked once for all processes, and gives the machine that the unpacked one gives', () => {
    const plain = builtRun(failingBoot(), new DerivedCache(folder));
    expect(readdirSync(folder)).toEqual([]);
    plain.runTo(50_000);
    const hash = plain.stateHash();
    const { config, unpacked } = packed();
    for (let i = 0; i < 3; i++) {
      const run = builtRun(config, new DerivedCache(folder));
      expect(Buffer.compare(run.elf, plain.elf)).toBe(0);
      run.runTo(50_000);
      expect(run.stateHash()).toBe(hash);
    }
    expect(unpacked()).toBe(1);
  });

  it('is unpacked anew where what is kept is damaged', () => {
    const { config, unpacked } = packed();
    builtRun(config, new DerivedCache(folder));
    const [name] = readdirSync(folder);
    const bytes = readFileSync(join(folder, name!));
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(join(folder, name!), bytes);
    const run = builtRun(config, new DerivedCache(folder));
    expect(Buffer.compare(run.elf, failingBoot().images.kernel!)).toBe(0);
    expect(unpacked()).toBe(2);
  });

  it('is kept only where a machine can be built of it', () => {
    const { config } = packed();
    const kernel = new Uint8Array(gzipSync(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, ...new Uint8Array(1000))));
    expect(errorOf(() => builtRun({ ...config, images: { kernel } }, new DerivedCache(folder)))).toMatch(/^E_/);
    expect(readdirSync(folder)).toEqual([]);
  });
});

it.each([
  [{ HOME: '/home/me' }, '/home/me/.cache/hindsight'],
  [{ HOME: '/home/me', XDG_CACHE_HOME: '/var/me' }, '/var/me/hindsight'],
  // a relative one is to be ignored (XDG Base Directory Specification)
  [{ HOME: '/home/me', XDG_CACHE_HOME: 'me' }, '/home/me/.cache/hindsight'],
  [{ HOME: '/home/me', XDG_CACHE_HOME: '/var/me', HINDSIGHT_CACHE: '/big/cache' }, '/big/cache'],
  [{ HOME: '/home/me', HINDSIGHT_CACHE: '' }, null],
  [{}, null],
])('with %j the cache is in %s', (environment, path) => {
  expect(cacheFolder(environment)).toBe(path);
});
