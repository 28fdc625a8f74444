import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AppendFile } from '../../store/append-file.ts';
import { pseudoRandom } from '../support/time-travel.ts';

const folder = mkdtempSync(join(tmpdir(), 'append-'));
afterAll(() => rmSync(folder, { recursive: true }));

const random = pseudoRandom(11);
/** Bytes that differ from those around them. */
const data = (length: number): Uint8Array => {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = (i * 31 + (i >> 8) * 7 + length) & 255;
  return out;
};
const isEqual = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

describe('a file that is appended to', () => {
  it('[X-02] gives back what was appended, at once, after a sync and when it is opened again', async () => {
    const path = join(folder, 'a');
    const places: Array<{ at: number; bytes: Uint8Array }> = [];
    for (let opening = 0; opening < 3; opening++) {
      const file = new AppendFile(path, opening === 0 ? 'wx+' : 'r+');
      for (const length of [5000, 1, 4096, 9 << 20, 100_000, ...Array.from({ length: 40 }, () => random(300_000))]) {
        const bytes = data(length);
        const cut = random(length + 1);
        places.push({ at: file.append([bytes.subarray(0, cut), bytes.subarray(cut)]), bytes });
        if (random(6) === 0) await file.sync();
        for (const { at, bytes } of [places.at(-1)!, places[random(places.length)]!])
          expect(isEqual(file.read(at, bytes.length), bytes)).toBe(true);
      }
      await file.sync();
      file.close();
      const last = places.at(-1)!;
      const whole = readFileSync(path);
      expect(whole.length).toBe(last.at + last.bytes.length);
      for (const { at, bytes } of places) expect(isEqual(whole.subarray(at, at + bytes.length), bytes)).toBe(true);
    }
    const file = new AppendFile(path, 'r+');
    const last = places.at(-1)!;
    expect(file.read(last.at, last.bytes.length + 9).length).toBe(last.bytes.length);
    file.close();
  });
  it('[X-02] has on disk after a sync what was appended before it', async () => {
    const path = join(folder, 'b');
    const file = new AppendFile(path, 'wx+');
    const at = file.append([data(10_000)]);
    expect(readFileSync(path).length).toBe(0);
    await file.sync();
    expect(isEqual(readFileSync(path).subarray(at, at + 10_000), data(10_000))).toBe(true);
    file.close();
  });
  it('a file that is only read stays as it is', () => {
    const path = join(folder, 'b');
    const before = readFileSync(path);
    new AppendFile(path, 'r+').close();
    expect(isEqual(readFileSync(path), before)).toBe(true);
  });
  it('is neither made nor opened through a link', () => {
    symlinkSync(join(folder, 'b'), join(folder, 'link'));
    expect(() => new AppendFile(join(folder, 'link'), 'wx+')).toThrow('EEXIST');
    expect(() => new AppendFile(join(folder, 'link'), 'r+')).toThrow('ELOOP');
  });
});
