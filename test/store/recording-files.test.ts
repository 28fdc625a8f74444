/** A recording as files: what it takes on the disk, who writes it, and that it goes whole and alone. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LevelStore } from '../../store/level-store.ts';
import { recorderOf, removeRecording, sizeOnDisk } from '../../store/recording-files.ts';
import { errorOf } from '../support/error.ts';
import { blobs, HEADER } from './torture-child.ts';

let folder: string;
const at = (name: string): string => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-files-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Bytes of the files below a path, as find -type f counts them. */
const bytesBelow = (path: string): number =>
  readdirSync(path, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

describe('a recording', () => {
  it('takes what its files take, and goes with all of them', async () => {
    const recording = await new LevelStore(folder).create('one', HEADER, blobs());
    await recording.close();
    const bytes = bytesBelow(at('one.hs'));
    expect(sizeOnDisk(at('one.hs'))).toBe(bytes);
    expect(removeRecording(at('one.hs'), 'one')).toBe(bytes);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that is being made is known by its recorder, and stays', async () => {
    const recording = await new LevelStore(folder).create('one', HEADER, blobs());
    expect(recorderOf(at('one.hs'))).toBe(process.pid);
    expect(errorOf(() => removeRecording(at('one.hs'), 'one'))).toBe(
      `E_USAGE: one is being recorded by process ${process.pid}: end that first`,
    );
    await recording.close();
    expect(recorderOf(at('one.hs'))).toBeNull();
    removeRecording(at('one.hs'), 'one');
    expect(existsSync(at('one.hs'))).toBe(false);
  });

  it('is known for one as long as anything of it is there', async () => {
    const recording = await new LevelStore(folder).create('one', HEADER, blobs());
    await recording.close();
    // what an interrupted removal leaves
    for (const name of readdirSync(at('one.hs/db'))) rmSync(at(`one.hs/db/${name}`));
    removeRecording(at('one.hs'), 'one');
    expect(existsSync(at('one.hs'))).toBe(false);
  });
});

it('odd things take what their plain files take', () => {
  writeFileSync(at('file'), 'x'.repeat(50));
  mkdirSync(at('folder/db/deeper'), { recursive: true });
  for (const name of ['folder/a', 'folder/db/b', 'folder/db/deeper/c']) writeFileSync(at(name), 'x'.repeat(10));
  symlinkSync('../file', at('folder/link'));
  symlinkSync('file', at('link'));
  expect(sizeOnDisk(at('file'))).toBe(50);
  expect(sizeOnDisk(at('folder'))).toBe(20);
  expect(sizeOnDisk(at('link'))).toBe(0);
  expect(sizeOnDisk(at('nothing'))).toBe(0);
});

describe('recorders of one name at once', () => {
  const NAMES = ['boot', 'boot-2', 'boot-3', 'boot-4'];
  it('each get one of their own, in one process', async () => {
    const store = new LevelStore(folder);
    const made = await Promise.all(NAMES.map(() => store.create(NAMES, HEADER, blobs())));
    expect(made.map((x) => x.name).sort()).toEqual(NAMES);
    await expect(store.create(NAMES, HEADER, blobs())).rejects.toMatchObject({ code: 'E_USAGE' });
    for (const recording of made) await recording.close();
    expect(readdirSync(folder).sort()).toEqual(NAMES.map((name) => `${name}.hs`).sort());
  });

  const CHILD = `
    import { LevelStore } from ${JSON.stringify(resolve(import.meta.dirname, '../../store/level-store.ts'))};
    import { blobs, HEADER } from ${JSON.stringify(resolve(import.meta.dirname, 'torture-child.ts'))};
    process.stdout.write('ready');
    process.stdin.once('data', async () => {
      const store = new LevelStore(process.argv[1]);
      const recording = await store.create(${JSON.stringify(NAMES)}, HEADER, blobs());
      await recording.close();
      process.stdout.write(' ' + recording.name);
      process.exit();
    });
  `;
  it('each get one of their own, in four processes', async () => {
    const children = NAMES.map(() =>
      spawn(process.execPath, ['--input-type=module', '-e', CHILD, folder], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    const outputs = children.map(() => '');
    const ended = children.map((child, i) => {
      child.stdout.on('data', (data) => (outputs[i] += data));
      return new Promise((done) => child.on('close', done));
    });
    await Promise.all(children.map((child) => new Promise((done) => child.stdout.once('data', done))));
    for (const child of children) child.stdin.write('go');
    await Promise.all(ended);
    expect(outputs.sort()).toEqual(NAMES.map((name) => `ready ${name}`));
    const store = new LevelStore(folder);
    for (const name of NAMES) {
      const recording = await store.open(name, HEADER.semanticsVersion);
      await recording.verify();
      await recording.close();
    }
  });
});
