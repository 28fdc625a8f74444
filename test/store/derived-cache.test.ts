/** Derived values kept between processes: they come back as they were put, or not at all, and nothing else happens. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CACHE_LIMITS, DerivedCache, derivedKey } from '../../store/derived-cache.ts';

const KEY = derivedKey(Uint8Array.of(1, 2, 3));
const OTHER = derivedKey(Uint8Array.of(4));
/** Bytes that do not compress, of any length. */
function value(length: number, seed = 1): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0, state = seed; i < length; i++) {
    state = Math.imul(state, 1103515245) + 12345;
    out[i] = state >>> 24;
  }
  return out;
}
const isRoot = process.geteuid?.() === 0;

let above: string;
let folder: string;
beforeEach(() => {
  above = mkdtempSync(join(tmpdir(), 'hindsight-derived-'));
  folder = join(above, 'cache');
});
afterEach(() => rmSync(above, { recursive: true }));

/** A cache as the next process has it. */
const cache = (folderBytes = CACHE_LIMITS.folderBytes): DerivedCache =>
  new DerivedCache(folder, { ...CACHE_LIMITS, folderBytes });
const file = (key = KEY, name = 'thing-1'): string => join(folder, `${key}.${name}`);
const bytesOfAll = (): number => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

describe('a derived value', () => {
  it.each([0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])('of %d bytes comes back in the next process', (length) => {
    cache().put(KEY, 'thing-1', value(length));
    expect(Buffer.compare(cache().get(KEY, 'thing-1')!, value(length))).toBe(0);
  });

  it('is found under its key and its name alone', () => {
    cache().put(KEY, 'thing-1', value(10));
    cache().put(KEY, 'thing-2', value(20));
    cache().put(OTHER, 'thing-1', value(30));
    expect(cache().get(KEY, 'thing-1')?.length).toBe(10);
    expect(cache().get(KEY, 'thing-2')?.length).toBe(20);
    expect(cache().get(OTHER, 'thing-1')?.length).toBe(30);
    expect(cache().get(OTHER, 'thing-2')).toBeNull();
  });

  it('has a key in which the parts do not run together', () => {
    const [a, b] = [Uint8Array.of(49), Uint8Array.of(50)];
    const keys = [derivedKey(a, b), derivedKey(b, a), derivedKey(Uint8Array.of(49, 50)), derivedKey(a), derivedKey()];
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('is put for this user alone, in one file that appears whole', () => {
    cache().put(KEY, 'thing-1', value(10));
    expect(readdirSync(folder)).toEqual([`${KEY}.thing-1`]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it('may be deleted at any time', () => {
    const kept = cache();
    kept.put(KEY, 'thing-1', value(10));
    rmSync(folder, { recursive: true });
    expect(kept.get(KEY, 'thing-1')).toBeNull();
    kept.put(KEY, 'thing-1', value(10));
    expect(cache().get(KEY, 'thing-1')).toEqual(value(10));
  });
});

describe('what is in the folder and was not put there has no effect', () => {
  it('whichever byte is another one, and wherever the file ends', () => {
    cache().put(KEY, 'thing-1', value(100));
    const whole = readFileSync(file());
    for (let at = 0; at < whole.length; at++) {
      const bad = Buffer.from(whole);
      bad[at]! ^= 0x40;
      writeFileSync(file(), bad, { mode: 0o600 });
      expect(cache().get(KEY, 'thing-1'), `byte ${at}`).toBeNull();
      writeFileSync(file(), whole.subarray(0, at), { mode: 0o600 });
      expect(cache().get(KEY, 'thing-1'), `cut at ${at}`).toBeNull();
    }
    writeFileSync(file(), whole, { mode: 0o600 });
    expect(cache().get(KEY, 'thing-1')).toEqual(value(100));
  });

  it('a value of another key or name', () => {
    cache().put(KEY, 'thing-1', value(100));
    copyFileSync(file(), file(OTHER));
    renameSync(file(), file(KEY, 'thing-2'));
    expect(cache().get(OTHER, 'thing-1')).toBeNull();
    expect(cache().get(KEY, 'thing-2')).toBeNull();
  });

  it('a link, a FIFO, a folder, a file larger than the cache', () => {
    cache().put(KEY, 'thing-1', value(100));
    renameSync(file(), join(above, 'elsewhere'));
    for (const make of [
      () => symlinkSync('../elsewhere', file()),
      () => symlinkSync('/dev/zero', file()),
      () => execFileSync('mkfifo', ['-m', '600', file()]),
      () => mkdirSync(file()),
      () => {
        writeFileSync(file(), 'HSDERIV1', { mode: 0o600 });
        truncateSync(file(), 2 ** 40);
      },
    ]) {
      make();
      expect(cache().get(KEY, 'thing-1')).toBeNull();
      rmSync(file(), { recursive: true });
    }
  });

  it('a file or folder that others may write to', () => {
    cache().put(KEY, 'thing-1', value(100));
    for (const path of [file(), folder]) {
      const { mode } = statSync(path);
      for (const others of [0o020, 0o002]) {
        chmodSync(path, mode | others);
        expect(cache().get(KEY, 'thing-1')).toBeNull();
      }
      chmodSync(path, mode);
    }
    chmodSync(folder, 0o777);
    const kept = cache();
    kept.put(OTHER, 'thing-1', value(5));
    expect(kept.get(OTHER, 'thing-1')).toEqual(value(5));
    expect(readdirSync(folder)).toEqual([`${KEY}.thing-1`]);
  });

  it.skipIf(!isRoot)('a file or folder of another user (as root)', () => {
    cache().put(KEY, 'thing-1', value(100));
    for (const path of [file(), folder]) {
      chownSync(path, 12345, 12345);
      expect(cache().get(KEY, 'thing-1')).toBeNull();
      chownSync(path, 0, 0);
      expect(cache().get(KEY, 'thing-1')).toEqual(value(100));
    }
  });

  it('a link in place of the folder', () => {
    cache().put(KEY, 'thing-1', value(100));
    renameSync(folder, join(above, 'elsewhere'));
    symlinkSync('elsewhere', folder);
    expect(cache().get(KEY, 'thing-1')).toBeNull();
  });
});

describe('the room that values take', () => {
  it('is bounded: what was used longest ago goes first', () => {
    const names = ['a', 'b', 'c', 'd'];
    for (const [i, name] of names.entries()) {
      cache().put(KEY, name, value(10_000, i));
      utimesSync(file(KEY, name), i + 1, i + 1);
    }
    expect(cache().get(KEY, 'a')).not.toBeNull();
    cache(30_500).put(KEY, 'e', value(10_000, 9));
    expect(readdirSync(folder).sort()).toEqual(['a', 'd', 'e'].map((name) => `${KEY}.${name}`));
    expect(bytesOfAll()).toBeLessThanOrEqual(30_500);
  });

  it('counts what a killed process left, and never touches a file that is not of the cache', () => {
    cache().put(KEY, 'a', value(10_000));
    const left = `${file(KEY, 'b')}.0123456789abcdef`;
    copyFileSync(file(KEY, 'a'), left);
    utimesSync(left, 1, 1);
    const theirs = ['precious', `${KEY}`, `${KEY}.b.txt`, 'recording.hs'].map((name) => join(folder, name));
    for (const path of theirs) {
      writeFileSync(path, value(50_000));
      utimesSync(path, 1, 1);
    }
    cache(20_500).put(KEY, 'c', value(10_000));
    expect(existsSync(left)).toBe(false);
    for (const path of theirs) expect(existsSync(path), path).toBe(true);
    expect(cache().get(KEY, 'a')).not.toBeNull();
  });

  it('is not taken by a value that has no room, which memory keeps', () => {
    const kept = cache(20_000);
    kept.put(KEY, 'a', value(10_000));
    kept.put(KEY, 'b', value(30_000));
    expect(readdirSync(folder)).toEqual([`${KEY}.a`]);
    expect(kept.get(KEY, 'b')?.length).toBe(30_000);
  });

  it('is bounded in memory as well', () => {
    const kept = new DerivedCache(null, { folderBytes: 0, memoryBytes: 25_000 });
    for (const name of ['a', 'b', 'c']) kept.put(KEY, name, value(10_000));
    expect(['a', 'b', 'c'].map((name) => kept.get(KEY, name)?.length)).toEqual([undefined, 10_000, 10_000]);
    kept.put(KEY, 'd', value(30_000));
    expect(kept.get(KEY, 'd')).toBeNull();
  });
});

describe('where the folder cannot be written', () => {
  const keeps = (path: string | null): void => {
    const kept = new DerivedCache(path);
    expect(kept.get(KEY, 'thing-1')).toBeNull();
    kept.put(KEY, 'thing-1', value(100));
    expect(kept.get(KEY, 'thing-1')).toEqual(value(100));
    expect(new DerivedCache(path).get(KEY, 'thing-1')).toBeNull();
  };
  it('memory takes its place', () => {
    writeFileSync(join(above, 'file'), '');
    for (const path of [null, join(above, 'file'), join(above, 'file/below'), '/proc/below/cache', '/dev/null'])
      keeps(path);
    expect(readFileSync(join(above, 'file'), 'utf8')).toBe('');
  });
  it.skipIf(isRoot)('for want of permission as well', () => {
    mkdirSync(folder, { mode: 0o500 });
    keeps(folder);
  });
});

describe('several processes at once', () => {
  const CHILD = `
    import { DerivedCache, derivedKey } from ${JSON.stringify(resolve(import.meta.dirname, '../../store/derived-cache.ts'))};
    const [, folder, seed] = process.argv;
    const cache = new DerivedCache(folder, { folderBytes: 60_000, memoryBytes: 0 });
    let wrong = 0, found = 0;
    for (let i = 0; i < 100; i++) {
      const n = (i * 7 + Number(seed)) % 12;
      const key = derivedKey(Uint8Array.of(n));
      const value = new Uint8Array(10_000).map((_, j) => ((j * 2654435761) >>> 13) ^ n);
      if (i % 2 === 0) cache.put(key, 'v', value);
      const got = cache.get(key, 'v');
      if (got !== null) found++;
      if (got !== null && Buffer.compare(got, value) !== 0) wrong++;
    }
    console.log(JSON.stringify({ wrong, found }));
  `;
  it('each gets what was put or nothing, and the room stays bounded', async () => {
    const results = await Promise.all(
      [0, 1, 2, 3].map(async (seed) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, folder, String(seed)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let out = '';
        child.stdout.on('data', (data) => (out += data));
        await new Promise((done) => child.on('close', done));
        return JSON.parse(out) as { wrong: number; found: number };
      }),
    );
    expect(results.map((r) => r.wrong)).toEqual([0, 0, 0, 0]);
    expect(Math.min(...results.map((r) => r.found))).toBeGreaterThan(0);
    expect(bytesOfAll()).toBeLessThanOrEqual(60_000);
    expect(readdirSync(folder).filter((name) => /\.[0-9a-f]{16}$/.test(name))).toEqual([]);
  });
});
