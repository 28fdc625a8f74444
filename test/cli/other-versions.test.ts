/** Recordings of another semantics version: what runs nothing reads them, what would run them refuses by name. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LOCAL_BACKEND } from '../../src/cli/local-backend.ts';
import { LevelStore } from '../../store/level-store.ts';
import { headerOf, timeTravelGuest } from '../support/time-travel.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-versions-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('[X-02] info and verify read a recording of another semantics version, which nothing runs', async () => {
  const header = { ...headerOf(timeTravelGuest()), semanticsVersion: 1 };
  const made = await new LevelStore(folder).create('old', header, new Map([['kernel', new Uint8Array(8)]]));
  made.endBlock(7, 5n);
  await made.close();
  const path = join(folder, 'old.hs');
  expect(await LOCAL_BACKEND.info(path)).toMatchObject({ semantics: '1', ticks: 7 });
  const hooks = { stop: new AbortController().signal, progress: () => {} };
  expect(await LOCAL_BACKEND.verify(path, hooks)).toMatchObject({ ok: true, ticks: 7 });
  await expect(LOCAL_BACKEND.open(path)).rejects.toMatchObject({
    code: 'E_SEMANTICS',
    message: expect.stringContaining('semantics version 1 ') as string,
  });
});
