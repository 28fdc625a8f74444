/**
 * The program on hosts that refuse: as processes of their own, since what is tested are signals, streams and exits. No moment matters:
 * every one of them has to come out right.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'src/cli/main.ts');
const FAILING = join(ROOT, 'tools/guest-kernels/failing-boot/failing-boot.elf');
const GUEST = join(ROOT, 'tools/guest-kernels/time-travel/time-travel.elf');
/** A boot that goes on printing until it is ended. */
const ENDLESS = ['record', GUEST, '--memory', '8M', '-o', 'one', '--', 'rounds=100000000 work=30'];
/** A boot that is over soon. */
const SHORT = ['record', FAILING, '--memory', '32M'];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-hosts-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Output = 'pipe' | 'ignore' | number;
interface Ended {
  readonly status: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}
interface Options {
  readonly stdout?: Output;
  readonly stdin?: Output;
  readonly cwd?: string;
  /** Told of the process, and of every piece of its output. */
  readonly started?: (child: ChildProcess) => void;
  readonly heard?: (child: ChildProcess, out: string) => void;
}

/** Runs the program to its end. */
function hindsight(args: readonly string[], options: Options = {}): Promise<Ended> {
  const { stdout = 'pipe', stdin = 'ignore', cwd = folder } = options;
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, stdio: [stdin, stdout, 'pipe'] });
  const text = { out: '', err: '' };
  child.stdout?.on('data', (data) => {
    text.out += data;
    options.heard?.(child, text.out);
  });
  child.stderr!.on('data', (data) => {
    text.err += data;
  });
  options.started?.(child);
  return new Promise((done) => child.on('close', (status, signal) => done({ status, signal, ...text })));
}
/** Sends a signal when so much has come out; once, for a second one ends the program where it stands. */
function whenHeard(signal: NodeJS.Signals, bytes = 1): NonNullable<Options['heard']> {
  let isSent = false;
  return (child, out) => {
    if (isSent || out.length < bytes) return;
    isSent = true;
    child.kill(signal);
  };
}
/** No stack trace, no mistake of ours. */
const orderly = (ended: Ended): void => {
  expect(ended.err).not.toMatch(/^ +at |E_BUG|node:internal/m);
};
/** The recording is whole and can be replayed; its verdict. */
async function replayed(name: string): Promise<string> {
  expect((await hindsight(['replay', name])).out).toContain('verified');
  return ((await hindsight(['info', name, '--json'])).out.match(/"kind":"([^"]*)"/) ?? ['', ''])[1]!;
}

describe('a place where no recording can be', () => {
  it.each(['/proc/x', '/proc/1/x', '/sys/x', '/dev/full/x', 'file/x', 'dangling/x'])(
    '%s is told with E_HOST at once',
    async (place) => {
      writeFileSync(join(folder, 'file'), '');
      symlinkSync('nowhere/at/all', join(folder, 'dangling'));
      const ended = await hindsight([...SHORT, '-o', place]);
      orderly(ended);
      expect([ended.status, ended.err]).toEqual([5, expect.stringMatching(/^E_HOST: the recording cannot be written/)]);
      expect(readdirSync(folder).sort()).toEqual(['dangling', 'file']);
    },
  );

  it('a working directory that is gone is told by every verb', async () => {
    for (const args of [['ls'], ['replay'], [...SHORT, '-o', 'x'], ['demo']]) {
      const cwd = join(folder, 'gone');
      mkdirSync(cwd);
      const script = 'rmdir "$PWD" && exec "$@"';
      const child = spawn('sh', ['-c', script, 'sh', process.execPath, MAIN, ...args], {
        cwd,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let err = '';
      child.stderr.on('data', (data) => {
        err += data;
      });
      const status = await new Promise((done) => child.on('close', done));
      expect([status, err]).toEqual([5, expect.stringMatching(/^E_HOST: there is no working directory: ENOENT/)]);
    }
  });
});

describe('an output that takes nothing', () => {
  const full = (): number => openSync('/dev/full', 'w');

  it('is E_HOST in every verb where it is full', async () => {
    expect((await hindsight([...SHORT, '-o', 'one'])).status).toBe(3);
    const verbs = [
      'ls',
      'info one',
      'verify one',
      'replay one',
      'replay one --console',
      'why one',
      'events one',
      'goto 5 one',
    ];
    for (const verb of [...verbs, 'bisect one --when rax==1', 'debug one', '--help', '--version', 'info one --json']) {
      const ended = await hindsight(verb.split(' '), { stdout: full() });
      expect([verb, ended.status, ended.err]).toEqual([verb, 5, 'E_HOST: standard output cannot be written: ENOSPC\n']);
    }
  });

  it('ends a recording orderly where it is full, with E_HOST', async () => {
    const ended = await hindsight(ENDLESS, { stdout: full() });
    expect([ended.status, ended.err]).toEqual([5, 'E_HOST: standard output cannot be written: ENOSPC\n']);
    expect(await replayed('one')).toBe('stopped');
  });

  it('ends a recording orderly where its reader has gone, with the status of one that was stopped', async () => {
    const ended = await hindsight(ENDLESS, { heard: (child) => child.stdout!.destroy() });
    expect([ended.status, ended.err]).toEqual([
      3,
      expect.stringMatching(/^standard output was closed: the recording ends at tick/),
    ]);
    expect(await replayed('one')).toBe('stopped');
  });

  it('holds the guest up where its reader is slow, and a signal is answered', async () => {
    const ended = await hindsight(['record', GUEST, '--memory', '8M', '-o', 'one', '--', 'rounds=100000000 work=0'], {
      started: (child) => {
        child.stdout!.pause();
        const wait = setInterval(() => {
          if (!readdirSync(folder).includes('one.hs') || child.stdout!.readableLength < 30_000) return;
          clearInterval(wait);
          child.kill('SIGTERM');
        }, 20);
        child.on('exit', () => child.stdout!.resume());
      },
    });
    orderly(ended);
    expect(ended.status).toBe(3);
    expect(await replayed('one')).toBe('stopped');
  });
});

describe('a signal', () => {
  const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

  it.each(SIGNALS)('%s before the first tick leaves nothing, or a whole recording', async (signal) => {
    for (const delay of [20, 120, 220, 320]) {
      const {
        status,
        signal: by,
        ...ended
      } = await hindsight(ENDLESS, {
        started: (child) => setTimeout(() => child.kill(signal), delay),
      });
      orderly({ status, signal: by, ...ended });
      if (readdirSync(folder).includes('one.hs')) {
        expect([by, status]).toEqual([null, 3]);
        expect(await replayed('one')).toBe('stopped');
        rmSync(join(folder, 'one.hs'), { recursive: true });
      } else if (by === null) expect(ended.err).toMatch(/^E_INTERRUPTED/);
      else expect(by).toBe(signal);
      expect(readdirSync(folder).filter((name) => name !== '.hindsight')).toEqual([]);
    }
  });

  it.each(SIGNALS)('%s ends a recording orderly', async (signal) => {
    const ended = await hindsight(ENDLESS, { heard: whenHeard(signal) });
    expect([ended.status, ended.err]).toEqual([3, '']);
    expect(await replayed('one')).toBe('stopped');
  });

  it('ends a verb that only reads, wherever it is', async () => {
    await hindsight(ENDLESS, { heard: whenHeard('SIGTERM', 20_000) });
    const endings = new Set<unknown>();
    for (const verb of [
      ['replay', 'one', '--console'],
      ['events', 'one'],
      ['bisect', 'one', '--when', 'rax == 0x123456'],
    ])
      for (const signal of SIGNALS) {
        const ended = await hindsight(verb, { started: (child) => setTimeout(() => child.kill(signal), 150) });
        orderly(ended);
        endings.add(ended.signal);
        // on a fast host it may have come to its end before
        if (ended.signal !== null) expect(ended.signal).toBe(signal);
      }
    for (const signal of SIGNALS) expect(endings).toContain(signal);
  });
});

describe('standard input that is no terminal', () => {
  /** Blocks until it is typed at, echoes, and powers off at a q. */
  const WAITING = ['record', GUEST, '--memory', '8M', '-o', 'one', '--', 'rounds=3 work=200 wait'];
  const typed = async (): Promise<string> => (await hindsight(['events', 'one', '--only', 'input', '--json'])).out;

  it('is typed line by line while the guest waits, journaled and replayed', async () => {
    const ended = await hindsight(WAITING, { stdin: 'pipe', started: (child) => child.stdin!.end('one\ntwo\nq') });
    expect([ended.status, ended.err]).toEqual([0, '']);
    expect(await replayed('one')).toBe('poweroff');
    const { events } = JSON.parse(await typed()) as { events: Array<{ text: string }> };
    expect(events.map((event) => event.text)).toEqual(['one\n', 'two\n', 'q']);
  });
  it('is waited for where the guest cannot go on without', async () => {
    const ended = await hindsight(WAITING, {
      stdin: 'pipe',
      started: (child) => setTimeout(() => child.stdin!.end('q'), 2_000),
    });
    expect(ended.status).toBe(0);
    expect(await replayed('one')).toBe('poweroff');
  });
  it.each([
    ['one that is closed', 'exec "$@" <&-'],
    ['/dev/null', 'exec "$@" </dev/null'],
    ['a folder', 'exec "$@" </'],
    ['an empty file', ': >empty; exec "$@" <empty'],
  ])('%s is no input: a guest that waits for some hangs', async (_, script) => {
    const child = spawn('sh', ['-c', script, 'sh', process.execPath, MAIN, ...WAITING], { cwd: folder });
    let out = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    const status = await new Promise((done) => child.on('close', done));
    expect([status, out]).toEqual([3, expect.stringContaining('every vCPU is blocked and nothing can wake one')]);
  });
});

describe('a file that a user names', () => {
  it.each([
    ['a directory', (path: string) => mkdirSync(path), 'E_NOT_FOUND'],
    ['a pipe', (path: string) => execFileSync('mkfifo', [path]), 'E_NOT_FOUND'],
    ['a device', (path: string) => symlinkSync('/dev/zero', path), 'E_NOT_FOUND'],
    ['nothing', () => {}, 'E_NOT_FOUND'],
    ['of 5 GB', (path: string) => ftruncateSync(openSync(path, 'w'), 5e9), null],
  ])('%s is refused before it is read', async (_, make, code) => {
    make(join(folder, 'odd'));
    const kernel = await hindsight(['record', 'odd']);
    const initrd = await hindsight([...SHORT, '--initrd', 'odd']);
    const input = await hindsight([...SHORT, '--input', 'odd']);
    for (const ended of [kernel, initrd, input]) {
      orderly(ended);
      expect(ended.status).toBe(2);
    }
    expect(kernel.err).toMatch(
      code === null ? /^E_IMAGE: .* has 5000000000 bytes; at most \d+ are/ : new RegExp(`^${code}`),
    );
    expect(initrd.err).toMatch(
      code === null ? /^E_MEMORY: .* has 5000000000 bytes; at most 33554432 are/ : new RegExp(`^${code}`),
    );
    expect(input.err).toMatch(code === null ? /^E_USAGE: .* has 5000000000 bytes/ : new RegExp(`^${code}`));
  });
});
