/** Records that are started at once and named after one image and one second. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RecordConfig, RecordHooks } from '../../src/cli/backend.ts';
import { LOCAL_BACKEND } from '../../src/cli/local-backend.ts';

const IMAGE = resolve(import.meta.dirname, '../../tools/guest-kernels/failing-boot/failing-boot.elf');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hindsight-names-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = (numbered: boolean): RecordConfig => ({
  image: IMAGE,
  initrd: null,
  commandLine: '',
  memoryBytes: 32 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  directory: join(folder, 'boot.hs'),
  numbered,
  idleLimitSeconds: 30,
  limitSeconds: null,
  limitTicks: null,
});
const hooks = (created: (path: string) => void): RecordHooks => ({
  built: () => {},
  created,
  console: () => {},
  shown: async () => {},
  log: () => {},
  input: { take: () => new Uint8Array(0), live: false, open: false, arrival: async () => {} },
  progress: () => {},
  stop: new AbortController().signal,
});

it('get a directory each, and know which', async () => {
  const created: string[] = [];
  const results = await Promise.all(
    [1, 2, 3].map(() =>
      LOCAL_BACKEND.record(
        config(true),
        hooks((path) => created.push(path)),
      ),
    ),
  );
  const paths = ['boot-2.hs', 'boot-3.hs', 'boot.hs'].map((name) => join(folder, name));
  expect(results.map((x) => x.recording).sort()).toEqual(paths);
  expect(created.sort()).toEqual(paths);
  for (const path of paths) expect((await LOCAL_BACKEND.info(path)).ticks).toBe(results[0]!.ticks);
});

it('do not where somebody chose the name', async () => {
  const both = await Promise.allSettled(
    [1, 2].map(() =>
      LOCAL_BACKEND.record(
        config(false),
        hooks(() => {}),
      ),
    ),
  );
  expect(both.map((x) => x.status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(readdirSync(folder)).toEqual(['boot.hs']);
});
