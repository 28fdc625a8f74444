/**
 * Runs of kernel files. What takes a second to unpack is kept in the user's cache, under the SHA-256 of the packed file (a recording's
 * chain of hashes does not cover its images), once a machine has been built of it.
 */
import { isAbsolute, join } from 'node:path';
import { DerivedCache, derivedKey } from '../../../store/derived-cache.ts';
import { isElf } from '../../elf/elf.ts';
import { imageOf, type MachineConfig } from '../../machine/config.ts';
import { kindOf } from '../../machine/platforms.ts';
import { Run } from '../../timeline/run.ts';
import { engineOptions } from './engine-options.ts';

/** Name of an unpacked kernel; another one where PlatformKind.unpack gives something else than before. */
const UNPACKED = 'kernel-1';
/** Larger ones are not kept: packing them again takes their size several times over. Debian's has 63 MiB. */
const LARGEST_KEPT_BYTES = 128 << 20;

/** The folder HINDSIGHT_CACHE, else `hindsight` in the user's folder for caches; null where there is none or none is wanted. */
export function cacheFolder({ HINDSIGHT_CACHE, XDG_CACHE_HOME, HOME }: NodeJS.ProcessEnv): string | null {
  if (HINDSIGHT_CACHE !== undefined) return HINDSIGHT_CACHE === '' ? null : HINDSIGHT_CACHE;
  if (XDG_CACHE_HOME !== undefined && isAbsolute(XDG_CACHE_HOME)) return join(XDG_CACHE_HOME, 'hindsight');
  return HOME !== undefined && isAbsolute(HOME) ? join(HOME, '.cache', 'hindsight') : null;
}

let cache: DerivedCache | null = null;
/** The cache of this user. */
function derivedCache(): DerivedCache {
  cache ??= new DerivedCache(cacheFolder(process.env));
  return cache;
}

/** The machine of a configuration as a file or a recording has it, at tick 0; its own configuration has the kernel unpacked. */
export function builtRun(config: MachineConfig, kept = derivedCache()): Run {
  const kernel = imageOf(config, 'kernel');
  if (isElf(kernel)) return new Run(config, engineOptions(kernel));
  const key = derivedKey(kernel);
  const known = kept.get(key, UNPACKED);
  const elf = known ?? kindOf(config.platform).unpack(kernel, config.inflate);
  const run = new Run({ ...config, images: { ...config.images, kernel: elf } }, engineOptions(elf));
  if (known === null && elf.length <= LARGEST_KEPT_BYTES) kept.put(key, UNPACKED, elf);
  return run;
}
