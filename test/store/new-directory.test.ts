import { spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LevelStore } from '../../store/level-store.ts';
import { NewDirectory } from '../../store/new-directory.ts';
import { errorOf } from '../support/error.ts';
import { blobs, HEADER } from './torture-child.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
const entries = (): string[] => readdirSync(folder).sort();
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-new-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a new directory', () => {
  it('appears with all that is in it, and hides before', () => {
    const directory = new NewDirectory([at('one.hs')]);
    writeFileSync(join(directory.path, 'file'), 'contents');
    expect(entries()).toEqual([expect.stringMatching(/^\.one\.hs\..*\.unfinished$/)]);
    directory.publish();
    expect(entries()).toEqual(['one.hs']);
    expect(readFileSync(at('one.hs/file'), 'utf8')).toBe('contents');
  });

  it('takes the place of an empty directory and of nothing else; of two with one name the first has it', () => {
    mkdirSync(at('empty.hs'));
    new NewDirectory([at('empty.hs')]).publish();
    writeFileSync(at('file.hs'), '');
    symlinkSync('nowhere', at('link.hs'));
    const [first, second] = [new NewDirectory([at('one.hs')]), new NewDirectory([at('one.hs')])];
    writeFileSync(join(first.path, 'first'), '');
    first.publish();
    for (const directory of [second, new NewDirectory([at('file.hs')]), new NewDirectory([at('link.hs')])]) {
      expect(errorOf(() => directory.publish())).toMatch(/^E_USAGE: .* exists already/);
      directory.discard();
    }
    expect(entries()).toEqual(['empty.hs', 'file.hs', 'link.hs', 'one.hs']);
    expect(readdirSync(at('one.hs'))).toEqual(['first']);
  });

  it('is cleared away when its process has died, and only then', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    const dead = child.pid;
    await new Promise((done) => child.on('close', done));
    const own = new NewDirectory([at('own.hs')]);
    const [, place] = /\d+-([0-9a-f]{8})-/.exec(own.path)!;
    const other = place === '00000000' ? '11111111' : '00000000';
    const left = {
      dead: `.a.hs.${dead}-${place}-01234567.unfinished`,
      alive: `.a.hs.${process.pid}-${place}-01234567.unfinished`,
      elsewhere: `.a.hs.${dead}-${other}-01234567.unfinished`,
      longAgo: `.b.hs.${dead}-${other}-01234567.unfinished`,
      mine: '.a.hs.unfinished',
    };
    for (const name of Object.values(left)) mkdirSync(at(name));
    utimesSync(at(left.longAgo), 0, 0);
    mkdirSync(at('elsewhere'));
    const link = `.c.hs.${dead}-${place}-01234567.unfinished`;
    symlinkSync('elsewhere', at(link));
    new NewDirectory([at('next.hs')]).publish();
    const name = own.path.slice(folder.length + 1);
    expect(entries()).toEqual([left.alive, left.elsewhere, left.mine, link, name, 'elsewhere', 'next.hs'].sort());
  });
});

describe('[X-02] a recording that is being made', () => {
  const CHILD = `
    import { LevelStore } from ${JSON.stringify(resolve(import.meta.dirname, '../../store/level-store.ts'))};
    import { HEADER } from ${JSON.stringify(resolve(import.meta.dirname, 'torture-child.ts'))};
    import { randomBytes } from 'node:crypto';
    const recording = await new LevelStore(process.argv[1]).create('big', HEADER, new Map([['kernel', randomBytes(48 << 20)]]));
    setInterval(() => {}, 1000);
  `;
  const present = (name: string): boolean => readdirSync(folder).includes(name);

  it.each([0, 20, 40, 80, 160, 320, 640])(
    'is there whole or not at all after a kill -9 (%d ms later)',
    async (delay) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', CHILD, folder], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const ended = new Promise((done) => child.on('close', done));
      while (entries().length === 0 && child.exitCode === null) await sleep(1);
      await sleep(delay);
      child.kill('SIGKILL');
      await ended;
      const store = new LevelStore(folder);
      if (present('big.hs')) {
        const recording = await store.open('big', HEADER.semanticsVersion);
        expect(recording.blob('kernel')?.length).toBe(48 << 20);
        await recording.verify();
        await recording.close();
      } else expect(await store.list()).toEqual([]);
      await (await store.create('next', HEADER, blobs())).close();
      expect(entries().filter((name) => name !== 'big.hs')).toEqual(['next.hs']);
    },
  );

  it('leaves nothing when it is told to stop on the way', async () => {
    const stop = new AbortController();
    const made = new LevelStore(folder).create('one', HEADER, blobs(), stop.signal);
    stop.abort();
    await expect(made).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    expect(entries()).toEqual([]);
  });

  it('of two with one name the first is made, and the other one refused', async () => {
    const store = new LevelStore(folder);
    const both = await Promise.allSettled([store.create('one', HEADER, blobs()), store.create('one', HEADER, blobs())]);
    expect(both.map((x) => x.status).sort()).toEqual(['fulfilled', 'rejected']);
    for (const x of both)
      if (x.status === 'fulfilled') await x.value.close();
      else expect(x.reason).toMatchObject({ code: 'E_USAGE' });
    expect(entries()).toEqual(['one.hs']);
  });
});
