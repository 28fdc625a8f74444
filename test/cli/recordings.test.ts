/** Where recordings live, which one is meant, and what `ls` and `rm` do with everything else that may stand there. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EmulatorError } from '../../src/core/errors.ts';
import { Bench } from './fake-backend.ts';

/** This host lets a namespace of mounts be made. */
function canMount(): boolean {
  return spawnSync('unshare', ['--map-root-user', '--mount', 'true']).status === 0;
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.remove());

const meant = async (...names: string[]): Promise<unknown> =>
  (await bench.run(['info', ...names, '--json'])).json().recording;
interface Row {
  readonly recording: string;
  readonly state?: string;
  readonly diskBytes: number;
  readonly error?: { readonly code: string; readonly message: string };
}
const listed = async (): Promise<Row[]> => (await bench.run(['ls', '--json'])).json() as unknown as Row[];
const names = async (): Promise<string[]> => (await listed()).map((x) => x.recording);
const latest = (): string => bench.path('.hindsight/latest');
/** Everything in the bench's folder, with contents. */
function contents(folder = bench.folder): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      const stats = lstatSync(path);
      return stats.isDirectory()
        ? [path, ...contents(path)]
        : [stats.isFile() ? `${path} ${readFileSync(path)}` : path];
    });
}

describe('a name', () => {
  it('means the same to every verb: in the current folder or in .hindsight, with .hs or without', async () => {
    bench.recording('two.hs');
    bench.recording('.hindsight/bare');
    for (const name of ['two', 'two.hs', './two', bench.path('two')]) expect(await meant(name)).toBe('two.hs');
    for (const name of ['one', 'one.hs', '.hindsight/one']) expect(await meant(name)).toBe('.hindsight/one.hs');
    expect(await meant('bare')).toBe('.hindsight/bare');
    for (const name of ['two', 'one', 'bare']) expect((await bench.run(['rm', name])).status).toBe(0);
    expect(await listed()).toEqual([]);
  });

  it('means a recording rather than what else is called so', async () => {
    writeFileSync(bench.path('one'), 'a file');
    writeFileSync(bench.path('one.hs'), 'main = pure ()');
    mkdirSync(bench.path('.hindsight/one'));
    expect(await meant('one')).toBe('.hindsight/one.hs');
  });

  it('with a slash is a path from the current folder, and from nowhere else', async () => {
    bench.recording('sub/there.hs');
    bench.recording('.hindsight/sub/here.hs');
    expect(await meant('sub/there')).toBe('sub/there.hs');
    for (const name of ['sub/here', '../outside', './one'])
      expect((await bench.run(['info', name, '--json'])).json()).toMatchObject({ error: { code: expect.any(String) } });
  });

  it('may not be empty', async () => {
    const { status, err } = await bench.run(['info', '']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_USAGE/);
  });

  it('of a new recording is what every verb finds and ls shows', async () => {
    for (const output of ['named', 'other.hs', '.hindsight/third', 'sub/fourth', '../fifth']) {
      await bench.run(['record', bench.image, '-o', output]);
      const directory = bench.backend.recorded?.directory ?? '';
      bench.recording(directory);
      expect(await names(), output).toContain(directory);
      expect(await meant(output), output).toBe(directory);
      expect(await meant(), output).toBe(directory);
      rmSync(bench.path(directory), { recursive: true });
    }
  });

  it.each(['.', '..', '/', '', 'sub/..'])('-o %j is none', async (output) => {
    const { status, err } = await bench.run(['record', bench.image, '-o', output]);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_USAGE: /);
    expect(bench.backend.recorded).toBeNull();
  });

  it.each([
    ['file.hs', () => writeFileSync(bench.path('file.hs'), '')],
    ['link.hs', () => symlinkSync('nowhere', bench.path('link.hs'))],
    ['link.hs', () => symlinkSync('.hindsight', bench.path('link.hs'))],
    ['fifo.hs', () => execFileSync('mkfifo', [bench.path('fifo.hs')])],
  ])('-o %s is refused where something stands', async (output, make) => {
    make();
    const { status, err } = await bench.run(['record', bench.image, '-o', output]);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_USAGE: .*exists already/);
  });

  it('after an image is one that files and shells take', async () => {
    const image = bench.path('-my kernel\n\u{1b}[31m.elf');
    writeFileSync(image, '');
    await bench.run(['record', image]);
    expect(bench.backend.recorded?.directory).toBe('.hindsight/my_kernel___31m-20260102-030405.hs');
  });
});

describe('.hindsight/latest', () => {
  beforeEach(() => {
    bench.recording('.hindsight/newest.hs', 2_000);
    bench.recording('.hindsight/older.hs', 1_000);
  });

  it('names a recording wherever it lies; without it the one begun last is the latest', async () => {
    expect(await meant()).toBe('.hindsight/newest.hs');
    for (const name of ['.hindsight/older.hs', bench.path('.hindsight/older.hs')]) {
      writeFileSync(latest(), `${name}\n`);
      expect(await meant()).toBe('.hindsight/older.hs');
    }
  });

  it.each([
    ['a FIFO', () => execFileSync('mkfifo', [latest()])],
    ['a folder', () => mkdirSync(latest())],
    ['a dangling link', () => symlinkSync('nowhere', latest())],
    ['an endless device', () => symlinkSync('/dev/zero', latest())],
    [
      'a link to a name',
      () => {
        writeFileSync(bench.path('name'), '.hindsight/older.hs');
        symlinkSync('../name', latest());
      },
    ],
    [
      'a file without end',
      () => {
        writeFileSync(latest(), '.hindsight/older.hs\n');
        truncateSync(latest(), 2 ** 40);
      },
    ],
    ['nothing', () => writeFileSync(latest(), '')],
    ['two lines', () => writeFileSync(latest(), '.hindsight/older.hs\n.hindsight/older.hs\n')],
    ['a NUL', () => writeFileSync(latest(), '.hindsight/older.hs\0')],
    ['what is not there', () => writeFileSync(latest(), 'nowhere.hs\n')],
    ['a name too long', () => writeFileSync(latest(), 'x'.repeat(4000))],
    ['what is no recording', () => writeFileSync(latest(), '.hindsight\n')],
    ['a file', () => writeFileSync(latest(), 'kernel.elf\n')],
    [
      'a link',
      () => {
        symlinkSync('older.hs', bench.path('.hindsight/link.hs'));
        writeFileSync(latest(), '.hindsight/link.hs');
      },
    ],
  ])('that is or names %s neither hangs nor misleads', async (_, make) => {
    make();
    expect(await meant()).toBe('.hindsight/newest.hs');
    expect((await bench.run(['ls'])).status).toBe(0);
  });

  it.each([
    ['a link', () => symlinkSync('../precious', latest())],
    ['a FIFO', () => execFileSync('mkfifo', [latest()])],
  ])('that is %s is replaced, not followed, when a recording is made', async (_, make) => {
    writeFileSync(bench.path('precious'), 'precious');
    make();
    await bench.run(['record', bench.image, '-o', 'made']);
    bench.recording('made.hs');
    expect(readFileSync(bench.path('precious'), 'utf8')).toBe('precious');
    expect(await meant()).toBe('made.hs');
    expect(readdirSync(bench.path('.hindsight')).sort()).toEqual(['latest', 'newest.hs', 'older.hs', 'one.hs']);
  });

  it('is no name: rm needs one', async () => {
    writeFileSync(latest(), '.hindsight/older.hs\n');
    const before = contents();
    const { status, err } = await bench.run(['rm']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_USAGE: missing required argument/);
    expect(contents()).toEqual(before);
  });
});

describe('ls', () => {
  it('shows what a name can mean, in the order in which they were begun, with bytes on the disk', async () => {
    bench.recording('.hindsight/third.hs', 3_000);
    bench.recording('second.hs', 2_000);
    bench.recording('elsewhere/fourth.hs', 4_000);
    writeFileSync(latest(), 'elsewhere/fourth.hs\n');
    writeFileSync(bench.path('second.hs/bulk'), 'x'.repeat(1000));
    const rows = await listed();
    expect(rows.map((x) => x.recording)).toEqual([
      '.hindsight/one.hs',
      'second.hs',
      '.hindsight/third.hs',
      'elsewhere/fourth.hs',
    ]);
    // 192 bytes of anchor, 1 of CURRENT
    expect(rows.map((x) => x.diskBytes)).toEqual([193, 1193, 193, 193]);
    expect(rows.map((x) => x.state)).toEqual(['ended', 'ended', 'ended', 'ended']);
    expect((await bench.run(['ls'])).out).toMatch(/^second\.hs +crash +1_000 ticks +1\.2 kB$/m);
  });

  it('tells one that has not ended', async () => {
    bench.backend.unfinished = true;
    expect((await listed()).map((x) => x.state)).toEqual(['unfinished']);
    expect((await bench.run(['ls'])).out).toMatch(/^\.hindsight\/one\.hs +unfinished +1_000 ticks/);
  });

  it('lists odd entries with the reason, follows none and hangs on none', async () => {
    const at = (name: string): string => bench.path(`.hindsight/${name}.hs`);
    writeFileSync(at('file'), 'x'.repeat(70));
    symlinkSync('nowhere', at('dangling'));
    symlinkSync('one.hs', at('link'));
    symlinkSync('loop.hs', at('loop'));
    execFileSync('mkfifo', [at('fifo')]);
    mkdirSync(join(at('folder'), 'deep'), { recursive: true });
    writeFileSync(join(at('folder'), 'deep/file'), 'x'.repeat(30));
    mkdirSync(at('empty'));
    for (const [name, anchor] of [
      ['foreign', () => writeFileSync(join(at('foreign'), 'anchor'), 'not an anchor')],
      ['piped', () => execFileSync('mkfifo', [join(at('piped'), 'anchor')])],
      ['linked', () => symlinkSync('/dev/zero', join(at('linked'), 'anchor'))],
      [
        'huge',
        () => {
          writeFileSync(join(at('huge'), 'anchor'), '');
          truncateSync(join(at('huge'), 'anchor'), 2 ** 40);
        },
      ],
    ] as const) {
      mkdirSync(at(name));
      anchor();
    }
    bench.recording('.hindsight/no-database.hs');
    rmSync(join(at('no-database'), 'db'), { recursive: true });
    const rows = new Map((await listed()).map((x) => [x.recording, x]));
    const why = (name: string): string => rows.get(`.hindsight/${name}.hs`)?.error?.message ?? '';
    expect(why('file')).toContain('is a file');
    expect(why('dangling')).toContain('is a symbolic link');
    expect(why('link')).toContain('is a symbolic link');
    expect(why('loop')).toContain('is a symbolic link');
    expect(why('fifo')).toContain('is a FIFO');
    expect(why('folder')).toContain('without an anchor');
    expect(why('foreign')).toContain('its anchor is foreign');
    expect(why('piped')).toContain('is a FIFO');
    expect(why('linked')).toContain('is a symbolic link');
    expect(why('huge')).toContain('too large');
    expect(why('no-database')).toContain('is missing');
    expect(rows.get('.hindsight/one.hs')?.error).toBeUndefined();
    expect(rows.has('.hindsight/empty.hs')).toBe(false);
    expect(rows.get('.hindsight/file.hs')?.diskBytes).toBe(70);
    expect(rows.get('.hindsight/folder.hs')?.diskBytes).toBe(30);
    const { status, out } = await bench.run(['ls']);
    expect(status).toBe(0);
    expect(out).toMatch(/^\.hindsight\/fifo\.hs +E_RECORDING +0 B +\.hindsight\/fifo\.hs is a FIFO/m);
  });

  it('lists of the current folder recordings alone', async () => {
    writeFileSync(bench.path('Main.hs'), 'main = pure ()');
    mkdirSync(bench.path('Data.hs'));
    execFileSync('mkfifo', [bench.path('pipe.hs')]);
    expect(await names()).toEqual(['.hindsight/one.hs']);
  });

  it.skipIf(process.geteuid?.() === 0)('lists a folder that it may not read', async () => {
    chmodSync(bench.path('.hindsight/one.hs'), 0);
    expect((await listed()).map((x) => x.error?.code)).toEqual(['E_HOST']);
    chmodSync(bench.path('.hindsight/one.hs'), 0o700);
  });

  it('lists one whose reading fails', async () => {
    bench.backend.failure = new EmulatorError('E_RECORDING', 'no header');
    const { status, out } = await bench.run(['ls']);
    expect(status).toBe(0);
    expect(out).toMatch(/^\.hindsight\/one\.hs +E_RECORDING +193 B +no header$/m);
  });

  it('says so where there is nothing, or no folder', async () => {
    rmSync(bench.path('.hindsight'), { recursive: true });
    expect((await bench.run(['ls'])).out).toMatch(/^no recordings yet/);
    writeFileSync(bench.path('.hindsight'), '');
    expect((await bench.run(['ls'])).out).toMatch(/^no recordings yet/);
  });
});

describe('rm', () => {
  it('deletes what is named and says what that was', async () => {
    bench.recording('two.hs');
    const { status, out } = await bench.run(['rm', 'one', 'two', '.hindsight/one.hs']);
    expect(status).toBe(0);
    expect(out).toBe('deleted .hindsight/one.hs, 193 B\ndeleted two.hs, 193 B\n');
    expect(readdirSync(bench.folder).sort()).toEqual(['.hindsight', 'kernel.elf']);
    bench.recording('two.hs');
    expect((await bench.run(['rm', 'two', '--json'])).json()).toEqual({
      removed: [{ recording: 'two.hs', bytes: 193 }],
    });
  });

  it('deletes a damaged one whose anchor is whole', async () => {
    bench.backend.failure = new EmulatorError('E_RECORDING', 'no header');
    rmSync(bench.path('.hindsight/one.hs/db'), { recursive: true });
    expect((await bench.run(['rm', 'one'])).status).toBe(0);
    expect(readdirSync(bench.path('.hindsight'))).toEqual([]);
  });

  it('deletes what is outside only where a path was typed', async () => {
    const name = `${basename(bench.folder)}-outside.hs`;
    const outside = bench.recording(`../${name}`);
    expect((await bench.run(['rm', name])).status).toBe(2);
    expect(existsSync(outside)).toBe(true);
    expect((await bench.run(['rm', `../${name}`])).status).toBe(0);
    expect(existsSync(outside)).toBe(false);
  });

  /** Each makes something that is no recording, or not the one named; the rest are names that could mean it. */
  const REFUSED: readonly (readonly [string, () => void, readonly string[]])[] = [
    ['a file', () => writeFileSync(bench.path('Main.hs'), 'main = pure ()'), ['Main', 'Main.hs']],
    [
      'a folder',
      () => {
        mkdirSync(bench.path('other.hs'));
        writeFileSync(bench.path('other.hs/x'), '');
      },
      ['other', './other.hs'],
    ],
    ['an empty folder', () => mkdirSync(bench.path('.hindsight/empty.hs')), ['empty']],
    ['a FIFO', () => execFileSync('mkfifo', [bench.path('.hindsight/fifo.hs')]), ['fifo']],
    [
      'a link to a recording',
      () => symlinkSync('one.hs', bench.path('.hindsight/link.hs')),
      ['link', '.hindsight/link.hs/'],
    ],
    ['a dangling link', () => symlinkSync('nowhere', bench.path('.hindsight/link.hs')), ['link']],
    ['the folder itself', () => {}, ['.hindsight', '.hindsight/', '.', '..', '/', '']],
    [
      'an anchor that is a link',
      () => {
        mkdirSync(bench.path('thief.hs'));
        symlinkSync('../.hindsight/one.hs/anchor', bench.path('thief.hs/anchor'));
      },
      ['thief'],
    ],
    [
      'an anchor that is a FIFO',
      () => {
        mkdirSync(bench.path('thief.hs'));
        execFileSync('mkfifo', [bench.path('thief.hs/anchor')]);
      },
      ['thief'],
    ],
    [
      'an anchor that is damaged',
      () => {
        const path = join(bench.recording('bad.hs'), 'anchor');
        writeFileSync(path, readFileSync(path).fill(1, 32));
      },
      ['bad'],
    ],
    [
      'a recording with more in it',
      () => writeFileSync(join(bench.recording('more.hs'), 'notes.txt'), 'notes'),
      ['more'],
    ],
    [
      'a recording with more in its database',
      () => mkdirSync(join(bench.recording('more.hs'), 'db/000005.ldb')),
      ['more'],
    ],
    ['a recording with a folder for a file', () => mkdirSync(join(bench.recording('more.hs'), 'bulk')), ['more']],
    [
      'a folder with somebody’s anchor',
      () => {
        bench.recording('project');
        writeFileSync(bench.path('project/main.c'), '');
      },
      ['project'],
    ],
    ['a recording behind a link', () => symlinkSync('.hindsight', bench.path('way')), ['way/one', './way/one.hs']],
  ];
  it.each(REFUSED)('leaves %s alone', async (_, make, names) => {
    make();
    const before = contents();
    for (const name of names) {
      const { status, err } = await bench.run(['rm', name]);
      expect(status, name).toBe(2);
      expect(err, name).toMatch(/^E_(RECORDING|USAGE|NOT_FOUND): /);
      expect(contents()).toEqual(before);
    }
  });

  it('leaves recordings alone where .hindsight is a link: they may be anybody’s', async () => {
    renameSync(bench.path('.hindsight'), bench.path('theirs'));
    symlinkSync('theirs', bench.path('.hindsight'));
    expect(await meant('one')).toBe('.hindsight/one.hs');
    const { status, err } = await bench.run(['rm', 'one']);
    expect(status).toBe(2);
    expect(err).toBe('E_USAGE: .hindsight is a symbolic link: nothing is deleted through links\n');
    expect((await bench.run(['rm', 'theirs/one'])).status).toBe(0);
  });

  it('unlinks the links in a recording and leaves what they lead to', async () => {
    writeFileSync(bench.path('precious'), 'precious');
    mkdirSync(bench.path('folder.of'));
    writeFileSync(bench.path('folder.of/LOG'), 'precious');
    const path = bench.recording('.hindsight/foreign.hs');
    symlinkSync('../../precious', join(path, 'bulk'));
    symlinkSync('../../../precious', join(path, 'db/MANIFEST-000001'));
    const linked = bench.recording('.hindsight/linked.hs');
    rmSync(join(linked, 'db'), { recursive: true });
    symlinkSync('../../folder.of', join(linked, 'db'));
    expect((await bench.run(['rm', 'foreign', 'linked'])).status).toBe(0);
    expect(readdirSync(bench.path('.hindsight'))).toEqual(['one.hs']);
    expect(readFileSync(bench.path('precious'), 'utf8')).toBe('precious');
    expect(readFileSync(bench.path('folder.of/LOG'), 'utf8')).toBe('precious');
  });

  it('deletes nothing where one of several names is none, and says what went before an error', async () => {
    bench.recording('two.hs');
    expect((await bench.run(['rm', 'one', 'nothing'])).status).toBe(2);
    writeFileSync(bench.path('two.hs/notes'), '');
    const { status, err } = await bench.run(['rm', 'one', 'two']);
    expect(status).toBe(2);
    expect(err).toMatch(/^E_RECORDING: two\.hs holds .*notes.*; deleted before it: \.hindsight\/one\.hs$/m);
    expect(existsSync(bench.path('two.hs/anchor'))).toBe(true);
  });

  it.skipIf(process.geteuid?.() === 0)('leaves a whole recording where permission is missing', async () => {
    const before = contents();
    for (const folder of ['.hindsight', '.hindsight/one.hs', '.hindsight/one.hs/db']) {
      chmodSync(bench.path(folder), 0o500);
      const { status, err } = await bench.run(['rm', 'one']);
      chmodSync(bench.path(folder), 0o700);
      expect(status).toBe(5);
      expect(err).toMatch(/^E_HOST: .*one\.hs cannot be deleted: EACCES/);
      expect(contents()).toEqual(before);
    }
  });

  it.skipIf(!canMount())('leaves a whole recording on a read-only mount', () => {
    const before = contents();
    const main = resolve(import.meta.dirname, '../../src/cli/main.ts');
    const script = 'mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$0" "$@"';
    const { status, stderr } = spawnSync(
      'unshare',
      ['--map-root-user', '--mount', 'sh', '-c', script, process.execPath, main, 'rm', 'one'],
      { cwd: bench.folder, encoding: 'utf8' },
    );
    expect(stderr).toMatch(/^E_HOST: .*one\.hs cannot be deleted: EROFS/);
    expect(status).toBe(5);
    expect(contents()).toEqual(before);
  });
});

it('the demo deletes its own recording alone', async () => {
  mkdirSync(bench.path('.hindsight/failing-boot.hs'));
  writeFileSync(bench.path('.hindsight/failing-boot.hs/precious'), '');
  utimesSync(bench.path('.hindsight/failing-boot.hs'), 1, 1);
  const { status, err } = await bench.run(['demo']);
  expect(status).toBe(2);
  expect(err).toMatch(/^E_RECORDING/);
  expect(existsSync(bench.path('.hindsight/failing-boot.hs/precious'))).toBe(true);
});
