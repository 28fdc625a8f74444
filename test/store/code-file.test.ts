/** Code that is kept between processes: it comes back as it was, or not at all. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodeFile } from '../../store/code-file.ts';

const KEYS = ['a', 'b', 'c'].map((letter) => letter.repeat(32));
const codeOf = (i: number, length = 100): Uint8Array => new Uint8Array(length).fill(i + 1);

describe('a file of compiled code', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'code-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (name: string, numbers: readonly number[], length = 100): void => {
    const file = new CodeFile(folder, name);
    for (const i of numbers) file.put(KEYS[i]!, i + 7, codeOf(i, length));
    file.save();
  };

  it('gives back what was put, with its rank, and keeps what was there before', () => {
    write('k.code', [0, 1]);
    write('k.code', [2]);
    const file = new CodeFile(folder, 'k.code');
    for (const i of [0, 1, 2]) {
      expect(file.rank(KEYS[i]!)).toBe(i + 7);
      expect(file.take(KEYS[i]!)).toEqual(codeOf(i));
    }
    expect(readdirSync(folder)).toEqual(['k.code']);
  });

  it('gives nothing back that is not what was put, whichever byte changed and wherever the file ends', () => {
    write('k.code', [0, 1]);
    const path = join(folder, 'k.code');
    const whole = readFileSync(path);
    const right = (): number => {
      const file = new CodeFile(folder, 'k.code');
      let found = 0;
      for (const i of [0, 1]) {
        const code = file.take(KEYS[i]!);
        if (code === null) continue;
        expect(code).toEqual(codeOf(i));
        found++;
      }
      return found;
    };
    expect(right()).toBe(2);
    for (let at = 0; at < whole.length; at++) {
      const bytes = Uint8Array.from(whole);
      bytes[at]! ^= 1 << (at % 8);
      writeFileSync(path, bytes);
      // the rank is no part of the code: another one has it written anew, or not
      const inRank = [0, 1].some((i) => at >= 8 + 144 * i + 32 && at < 8 + 144 * i + 36);
      expect(right(), `byte ${at}`)[inRank ? 'toBe' : 'toBeLessThan'](2);
      writeFileSync(path, whole.subarray(0, at));
      expect(right(), `${at} bytes`).toBe(at < 152 ? 0 : 1);
    }
  });

  it('drops what the last process did not use where a file would grow too large', () => {
    write('k.code', [0, 1], 1000);
    const file = new CodeFile(folder, 'k.code', { fileBytes: 2500, files: 16 });
    expect(file.take(KEYS[1]!)).not.toBeNull();
    file.put(KEYS[2]!, 1, codeOf(2, 1000));
    file.save();
    const after = new CodeFile(folder, 'k.code');
    expect(KEYS.map((key) => after.take(key) !== null)).toEqual([false, true, true]);
  });

  it('drops the files that have not been used for longest, use being reading too, and no others', () => {
    writeFileSync(join(folder, 'precious'), '');
    utimesSync(join(folder, 'precious'), 1, 1);
    for (const [i, name] of ['a.code', 'b.code', 'c.code'].entries()) {
      write(name, [0]);
      utimesSync(join(folder, name), 1000 + i, 1000 + i);
    }
    const read = new CodeFile(folder, 'a.code');
    read.take(KEYS[0]!);
    read.save();
    const file = new CodeFile(folder, 'd.code', { fileBytes: 1 << 20, files: 3 });
    file.put(KEYS[0]!, 1, codeOf(0));
    file.save();
    expect(readdirSync(folder).sort()).toEqual(['a.code', 'c.code', 'd.code', 'precious']);
  });

  it('does without a folder that cannot be made', () => {
    writeFileSync(join(folder, 'file'), '');
    for (const below of [join(folder, 'file', 'below'), '/proc/below/cache']) {
      const file = new CodeFile(below, 'k.code');
      expect(file.take(KEYS[0]!)).toBeNull();
      file.put(KEYS[0]!, 1, codeOf(0));
      expect(() => file.save()).not.toThrow();
    }
  });
});
