// Reading a recording writes nothing, waits for nobody, follows no link, and takes nothing that it says for granted.
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
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOCAL_BACKEND } from '../../src/cli/local-backend.ts';
import { run } from '../../src/cli/program.ts';
import { SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { LevelStore } from '../../store/level-store.ts';
import type { HeaderMessage } from '../../store/messages.ts';
import { numbered } from '../../store/sealed.ts';
import { errorOf } from '../support/error.ts';
import { Forgery } from '../support/forge.ts';
import { recordGuest, timeTravelGuest } from '../support/time-travel.ts';
import { reopenDatabase, stateHashOf, TICKS } from './torture-child.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-readers-'));
const store = new LevelStore(folder);
const CHILD = join(import.meta.dirname, 'torture-child.ts');
const whole = (): string => store.path('whole');
/** Its last snapshot. */
let last = 0;
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(async () => {
  const guest = timeTravelGuest('rounds=3 work=200');
  const options = { strideTicks: 5_003, flushTicks: 8_000, snapshotTicks: 24_000 };
  const { recording } = await recordGuest(guest, { store, name: 'whole', ...options });
  last = recording.snapshots.length - 1;
  expect([recording.blocks.length, last]).toEqual([
    expect.toSatisfy((count) => count > 2),
    expect.toSatisfy((at) => at > 0),
  ]);
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
/** Runs a verb in this process. */
async function verb(args: readonly string[], input = ''): Promise<{ status: number; text: string }> {
  const stdin = new PassThrough();
  stdin.end(input);
  const stdout = new PassThrough();
  let text = '';
  stdout.on('data', (data) => {
    text += data;
  });
  const status = await run(args, {
    streams: { stdin, stdout, stderr: stdout } as never,
    cwd: () => process.cwd(),
    backend: async () => LOCAL_BACKEND,
    now: () => new Date(0),
    version: 'test',
    trace: false,
  });
  return { status, text };
}
const VERBS: ReadonlyArray<readonly [verb: string, ...rest: string[]]> = [
  ['info'],
  ['verify'],
  ['replay'],
  ['goto', 'end'],
  ['goto', '50%'],
  ['why'],
  ['bisect', '--when', 'console ~ "round"'],
  ['bisect', '--when', 'rax == 0x123456789'],
  ['events', '--only', 'upcall'],
  ['debug'],
];
/** What each verb answers about a recording. */
async function answers(path: string, verbs = VERBS): Promise<Array<{ verb: string; status: number; text: string }>> {
  const all: Array<{ verb: string; status: number; text: string }> = [];
  for (const [name, ...rest] of verbs)
    all.push({ verb: name, ...(await verb([name, path, ...rest], 'goto end\nback\nregs\nbt\n')) });
  return all;
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
    for (const part of partsOf(path)) {
      if ((part === 'db') === (kind === 'directory') || (kind === 'a directory' && part === 'db')) continue;
      if (kind === 'a file' && part !== 'db') continue;
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

describe('what a recording says', () => {
  const header = (change: (message: HeaderMessage) => void) => (forgery: Forgery) => forgery.header(change);
  const bytes = (count: number): Uint8Array => new Uint8Array(count).fill(0xff);
  const REFUSED: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    'tscKhz=0': header((m) => void (m.tscKhz = 0)),
    'tscKhz=2^53-1': header((m) => void (m.tscKhz = 2 ** 53 - 1)),
    'createdMs=NaN': header((m) => void (m.createdMs = Number.NaN)),
    'createdMs=1e300': header((m) => void (m.createdMs = 1e300)),
    'memoryBytes=2^53-1': header((m) => void (m.memoryBytes = 2 ** 53 - 1)),
    'memoryBytes=0': header((m) => void (m.memoryBytes = 0)),
    'memoryBytes=100G': header((m) => void (m.memoryBytes = 100 * 2 ** 30)),
    'vcpus=0': header((m) => void (m.vcpus = 0)),
    'vcpus=2^32-1': header((m) => void (m.vcpus = 2 ** 32 - 1)),
    'nsPerTick=0': header((m) => void (m.nsPerTick = 0)),
    'epochSeconds=2^53-1': header((m) => void (m.epochSeconds = 2 ** 53 - 1)),
    'a seed of half a megabyte': header((m) => void (m.seed = bytes(1 << 19))),
    'an edit at tick abc': header((m) => void (m.settings.edited = 'abc')),
    'an image of 2^40 bytes': header((m) => void (m.blobs[0]!.bytes = 2 ** 40)),
    'format version 9': header((m) => void (m.formatVersion = 9)),
    'no header': (f) => f.remove('header'),
    'an empty header': (f) => f.put('header', new Uint8Array(0)),
    'a header of nested groups': (f) => f.put('header', new Uint8Array(1 << 19).fill(0x9b)),
    'a header of two megabytes': header((m) => void (m.commandLine = 'x'.repeat(2 << 20))),
    'the verdict weird': (f) => f.end((m) => void (m.verdict = 'weird')),
    'the verdict constructor': (f) => f.end((m) => void (m.verdict = 'constructor')),
    'an end elsewhere': (f) => f.end((m) => void (m.tick += 1)),
    'a verdict behind the end': (f) => f.end((m) => void (m.placeTick = m.tick + 1)),
    'a verdict on vCPU 9': (f) => f.end((m) => void (m.placeVcpu = 9)),
    'an end hash of half a megabyte': (f) => f.end((m) => void (m.stateHash = bytes(1 << 19))),
    'a snapshot of page -5': (f) => f.snapshot(1, (m) => void (m.pageDeltas[0] = -5)),
    'a snapshot of page 2^40': (f) => f.snapshot(1, (m) => void (m.pageDeltas[0] = 2 ** 40)),
    'a snapshot with a slot twice': (f) => f.snapshot(1, (m) => void (m.slotDeltas[1] = 0)),
    'a snapshot upon itself': (f) => f.snapshot(1, (m) => void (m.base = 2)),
    'a block that ends before it begins': (f) => f.block(1, (m) => void (m.lastTick = m.firstTick - 1)),
    'a block out of order': (f) => f.block(1, (m) => void (m.sequence = 0)),
  };
  it.each(Object.keys(REFUSED))('[X-02] %s is refused by every verb', async (name) => {
    const path = copy('forged');
    await Forgery.of(path, REFUSED[name]!);
    for (const { verb: asked, status, text } of await answers(path)) {
      expect(status, `${asked}: ${text}`).toBe(2);
      expect(text).toMatch(/E_RECORDING: ./);
    }
  });

  const section = (name: string, change: (bytes: Uint8Array) => Uint8Array | null) => (forgery: Forgery) =>
    forgery.sections(last, (m) => {
      m.sections = m.sections.flatMap((s) => {
        if (s.name !== name) return [s];
        const changed = change(s.bytes);
        return changed === null ? [] : [{ name, bytes: changed }];
      });
    });
  const SECTIONS = ['loop', 'cpu0', 'pv', 'mm', 'frames'];
  const ODD: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    ...Object.fromEntries(
      SECTIONS.flatMap((name) => [
        [`no section ${name}`, section(name, () => null)],
        [`a section ${name} cut short`, section(name, (b) => b.subarray(0, b.length >> 1))],
        [`a foreign section ${name}`, section(name, (b) => b.slice().fill(0xff))],
        [`a section ${name} of another state`, section(name, (b) => b.with(b.length >> 2, b[b.length >> 2]! ^ 1))],
      ]),
    ),
    'a foreign console log': section('observed console', (b) => b.slice().fill(0xff)),
    'no sections': (f) => f.put(numbered('sections', last), new Uint8Array(0)),
    'sections that are none': (f) => f.put(numbered('sections', last), bytes(5000)),
    'another tick': (f) => f.snapshot(last, (m) => void (m.tick -= 1)),
  };
  it.each(Object.keys(ODD))('[X-02] a snapshot with %s is told from a state of the machine', async (name) => {
    const path = copy('odd-state');
    await Forgery.of(path, ODD[name]!);
    const { status, text } = await verb(['goto', path, 'end']);
    expect([status, text]).toEqual([2, expect.stringMatching(/^E_RECORDING: .*(snapshot|sections)/)]);
  });

  it('[X-02] a recording whose snapshots are none replays all the same: they prove nothing and are not asked', async () => {
    const path = copy('odd-state');
    await Forgery.of(
      path,
      section('cpu0', () => null),
    );
    expect((await verb(['replay', path])).status).toBe(0);
  });

  const BLOCKS: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    'an entry of an unknown kind': (f) => f.block(0, (m) => void m.kinds.fill(9)),
    'entries without kinds': (f) => f.block(0, (m) => void (m.kinds = new Uint8Array(0))),
    'entries without details': (f) => f.block(0, (m) => void (m.details = [])),
    'an entry whose text is none': (f) => f.block(0, (m) => void (m.details = m.details.map(() => 1001))),
    'more input than there is': (f) =>
      f.block(0, (m) => {
        m.kinds.fill(0);
        m.details = m.details.map(() => 99);
      }),
    'entries behind the end': (f) => f.block(0, (m) => void (m.tickDeltas = m.tickDeltas.map(() => 2 ** 50))),
    'digests that are cut': (f) => f.block(0, (m) => void (m.digestTickDeltas = [1])),
  };
  it.each(Object.keys(BLOCKS))('[X-02] a journal with %s is refused wherever it is read', async (name) => {
    const path = copy('odd-block');
    await Forgery.of(path, BLOCKS[name]!);
    for (const { verb: asked, status, text } of await answers(path, [['verify'], ['replay']])) {
      expect([asked, status, text]).toEqual([
        asked,
        2,
        expect.stringMatching(/E_RECORDING: journal block 0 is malformed/),
      ]);
    }
  });

  it('[X-02] a journal that goes on behind the end of the run, or without end, is told to have parted from it', async () => {
    for (const more of [1000, 2 ** 50]) {
      const path = copy('far');
      const { blocks, end } = await store.open('far', SEMANTICS_VERSION);
      await Forgery.of(path, async (forgery) => {
        await forgery.block(blocks.length - 1, (m) => void (m.lastTick += more));
        await forgery.end((m) => void (m.tick = end!.tick + more));
      });
      expect((await verb(['verify', path])).status).toBe(0);
      expect((await verb(['replay', path])).status).toBe(4);
      expect((await verb(['goto', path, 'end'])).text).toMatch(/^E_DIVERGED: the run ends at tick/);
    }
  });
});
