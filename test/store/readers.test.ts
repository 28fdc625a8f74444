// Reading a recording writes nothing, waits for nobody and follows no link.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { LevelStore } from '../../store/level-store.ts';
import { PlainFile, readFailure } from '../../store/plain-file.ts';
import { errorOf } from '../support/error.ts';
import { recordGuest, timeTravelGuest } from '../support/time-travel.ts';
import { answers } from '../support/verbs.ts';
import { reopenDatabase, stateHashOf, TICKS } from './torture-child.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-readers-'));
const store = new LevelStore(folder);
const CHILD = join(import.meta.dirname, 'torture-child.ts');
const whole = (): string => store.path('whole');
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  const guest = timeTravelGuest('rounds=3 work=200');
  const options = { strideTicks: 5_003, flushTicks: 8_000, snapshotTicks: 24_000 };
  const { recording } = await recordGuest(guest, { store, name: 'whole', ...options });
  await recording.close();
});

/** A copy of the whole recording. */
function copy(name: string): string {
  rmSync(store.path(name), { recursive: true, force: true });
  cpSync(whole(), store.path(name), { recursive: true });
  return store.path(name);
}
/** Everything in a directory: names, kinds, modes, owners, times, contents. */
function fingerprint(path: string): string {
  const all = createHash('sha256');
  const add = (at: string): void => {
    const { mode, uid, gid, ino, size, mtimeMs, ctimeMs } = lstatSync(at);
    all.update(JSON.stringify([at, mode, uid, gid, ino, size, mtimeMs, ctimeMs]));
    if (lstatSync(at).isDirectory()) for (const name of readdirSync(at).sort()) add(join(at, name));
    else if (lstatSync(at).isFile()) all.update(readFileSync(at));
  };
  add(path);
  return all.digest('hex');
}
const open = (name: string): Promise<string> =>
  store.open(name, SEMANTICS_VERSION).then(
    async (recording) => {
      try {
        await recording.verify();
        return 'whole';
      } catch (error) {
        return errorOf(() => {
          throw error;
        });
      } finally {
        await recording.close();
      }
    },
    (error) => `${error.code}: ${error.message}`,
  );

describe('reading', () => {
  it('[X-02] changes nothing in the directory, whatever is asked, in log and in tables', async () => {
    const tables = copy('tables');
    await reopenDatabase(tables);
    expect(readdirSync(join(tables, 'db')).some((name) => name.endsWith('.ldb'))).toBe(true);
    for (const path of [whole(), tables]) {
      const before = fingerprint(path);
      for (const { verb: name, status, text } of await answers(path)) {
        expect([name, status], text).toEqual([name, name === 'bisect' && status === 7 ? 7 : 0]);
        expect(text).not.toMatch(/E_[A-Z]+/);
      }
      expect(fingerprint(path)).toBe(before);
    }
  });

  it('[X-02] twenty at once, each with the recording open', async () => {
    const readers = await Promise.all(Array.from({ length: 20 }, () => store.open('whole', SEMANTICS_VERSION)));
    await Promise.all(readers.map((reader) => reader.verify()));
    const first = readers[0]!;
    for (const reader of readers) expect([reader.blocks, reader.end]).toEqual([first.blocks, first.end]);
    for (const reader of readers) await reader.close();
  });

  it('[X-02] beside a recorder: the prefix that it says is on disk, each time', async () => {
    const child = spawn(process.execPath, [CHILD, 'write', folder, 'busy'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let looks = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      if (looks === 25) child.kill('SIGKILL');
      if (looks >= 25) continue;
      looks++;
      const before = Number(line);
      const recording = await store.open('busy', 1);
      expect(recording.end).toBeNull();
      expect(recording.blocks.length).toBeGreaterThanOrEqual(before);
      for (const { sequence, lastTick, stateHash } of recording.blocks)
        expect([lastTick, stateHash]).toEqual([(sequence + 1) * TICKS, stateHashOf(sequence)]);
      await recording.verify();
      await recording.close();
    }
    expect(looks).toBe(25);
  });

  it('[X-02] as somebody who may not write there; who may not read is told of the host', async () => {
    const path = copy('locked');
    await reopenDatabase(path);
    const everything = [path, join(path, 'db'), ...['', 'db'].flatMap((at) => namesAt(path, at))];
    for (const at of everything) chmodSync(at, lstatSync(at).isDirectory() ? 0o555 : 0o444);
    const before = fingerprint(path);
    const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    chmodSync(folder, 0o755);
    const read = (): string => {
      const { stdout, error } = spawnSync(
        process.execPath,
        [CHILD, 'read', folder, 'locked', String(SEMANTICS_VERSION)],
        {
          ...nobody,
          env: { ...process.env, NODE_COMPILE_CACHE: '' },
          encoding: 'utf8',
        },
      );
      return error === undefined ? stdout.trim() : `cannot be started: ${error.message}`;
    };
    const said = read();
    // An installation in somebody's home is not everybody's to run.
    if (said === '' || said.startsWith('cannot')) return;
    expect(said).toBe('whole');
    expect(fingerprint(path)).toBe(before);
    for (const at of ['anchor', 'bulk', 'db/CURRENT', 'db']) {
      const mode = lstatSync(join(path, at)).mode & 0o777;
      chmodSync(join(path, at), 0);
      expect(read(), at).toMatch(/^E_HOST: .*EACCES/);
      chmodSync(join(path, at), mode);
    }
    for (const at of everything) chmodSync(at, lstatSync(at).isDirectory() ? 0o755 : 0o644);
  });
  it('[X-02] what the host refuses ends with 5, and nothing is called damaged for it', async () => {
    const { open: plain } = PlainFile;
    for (const part of ['anchor', 'CURRENT', 'bulk']) {
      const spy = vi.spyOn(PlainFile, 'open').mockImplementation((path, place) => {
        if (!path.endsWith(part)) return plain.call(PlainFile, path, place);
        throw readFailure(place, Object.assign(new Error('EIO: i/o error, open'), { code: 'EIO' }));
      });
      try {
        for (const { verb: asked, status, text } of await answers(whole(), [['verify'], ['info'], ['replay']])) {
          expect([asked, status, text]).toEqual([asked, 5, expect.stringMatching(/^E_HOST: .*EIO/)]);
          expect(text).not.toContain('damaged');
        }
      } finally {
        spy.mockRestore();
      }
    }
  });
  const namesAt = (path: string, at: string): string[] =>
    readdirSync(join(path, at), { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(path, at, entry.name));
});

describe('what is not the recording’s own', () => {
  const PARTS = ['anchor', 'bulk', 'db', 'db/CURRENT', /^MANIFEST/, /\.ldb$/, /\.log$/] as const;
  /** Each part of a recording, by its path in the directory. */
  const partsOf = (path: string): string[] =>
    PARTS.map((part) =>
      typeof part === 'string' ? part : join('db', readdirSync(join(path, 'db')).find((name) => part.test(name))!),
    );

  const KINDS: ReadonlyArray<readonly [kind: string, make: (path: string, moved: string) => void]> = [
    ['a symbolic link', (path, moved) => symlinkSync(moved, path)],
    ['a symbolic link', (path) => symlinkSync('/dev/zero', path)],
    ['a symbolic link', (path) => symlinkSync(join(folder, 'nowhere'), path)],
    ['a FIFO', (path) => execFileSync('mkfifo', [path])],
    ['a directory', (path) => mkdirSync(path)],
    ['a file', (path) => writeFileSync(path, '')],
  ];
  it.each(KINDS)('[X-02] %s in place of a part is refused, by its name (%#)', async (kind, make) => {
    const path = copy('odd');
    await reopenDatabase(path);
    const own = { 'a directory': ['db'], 'a file': partsOf(path).filter((part) => part !== 'db') }[kind] ?? [];
    const parts = partsOf(path).filter((part) => !own.includes(part));
    expect(parts.length).toBe({ 'a directory': 6, 'a file': 1 }[kind] ?? 7);
    for (const part of parts) {
      const at = join(path, part);
      const moved = join(folder, 'moved');
      renameSync(at, moved);
      make(at, moved);
      const before = [fingerprint(path), fingerprint(moved)];
      const said = await open('odd');
      expect(said, part).toMatch(/^E_RECORDING: the (anchor|bulk file|database)/);
      expect(said).toContain(`is ${kind}, not a ${part === 'db' ? 'directory' : 'plain file'}`);
      expect([fingerprint(path), fingerprint(moved)]).toEqual(before);
      rmSync(at, { recursive: true });
      renameSync(moved, at);
    }
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
    expect(await open('odd')).toBe('whole');
  });
  it('[X-02] what LevelDB leaves beside its files is not looked at', async () => {
    const path = copy('beside');
    for (const name of ['LOCK', 'LOG']) {
      rmSync(join(path, 'db', name));
      symlinkSync('/dev/zero', join(path, 'db', name));
    }
    execFileSync('mkfifo', [join(path, 'db', '000077.dbtmp'), join(path, 'db', '000078.ldb')]);
    expect(await open('beside')).toBe('whole');
  });
  it('[X-02] a recording that is itself named by a link is one', async () => {
    symlinkSync(whole(), store.path('link'));
    expect(await open('link')).toBe('whole');
  });
  it('[X-02] nothing is read before its size is: parts of 2^40 bytes', async () => {
    const path = copy('large');
    await reopenDatabase(path);
    for (const part of partsOf(path).filter((name) => name !== 'db' && name !== 'bulk')) {
      const size = lstatSync(join(path, part)).size;
      truncateSync(join(path, part), 2 ** 40);
      expect(await open('large'), part).toMatch(/^E_RECORDING: the (anchor|database)/);
      truncateSync(join(path, part), size);
    }
    truncateSync(join(path, 'bulk'), 2 ** 40);
    expect(await open('large')).toBe('whole');
  });
});
