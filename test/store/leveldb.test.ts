// Our reader of LevelDB's files beside LevelDB itself.
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { maskedCrc32c } from '../../store/leveldb/crc32c.ts';
import { Database } from '../../store/leveldb/database.ts';
import { logRecords } from '../../store/leveldb/log.ts';
import { PlainFile } from '../../store/plain-file.ts';
import { pseudoRandom } from '../support/time-travel.ts';

const folder = mkdtempSync(join(tmpdir(), 'leveldb-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Written = Level<string, Uint8Array> & { compactRange(from: string, to: string): Promise<void> };
/** A LevelDB that begins another log and merges tables often. */
const written = (path: string, writeBufferSize = 40_000): Written =>
  new Level<string, Uint8Array>(path, {
    valueEncoding: 'view',
    compression: false,
    writeBufferSize,
    maxFileSize: 1 << 20,
  } as object) as Written;

/** What a database says of `keys`, as text. */
function contents(path: string, keys: Iterable<string>): Map<string, string> {
  const database = Database.open(path);
  try {
    database.verify();
    return new Map([...keys].flatMap((key) => [[key, database.get(key)?.toString('latin1') ?? '-'] as const]));
  } finally {
    database.close();
  }
}
const tablesIn = (path: string): string[] => readdirSync(path).filter((name) => name.endsWith('.ldb'));

describe('CRC-32C', () => {
  it('[X-02] is that of RFC 3720, appendix B.4, masked', () => {
    const unmasked = (bytes: Uint8Array): number => {
      const rotated = (maskedCrc32c(bytes) - 0xa282ead8) >>> 0;
      return ((rotated >>> 17) | (rotated << 15)) >>> 0;
    };
    expect(unmasked(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(unmasked(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(unmasked(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  });
});

describe('a LevelDB read without LevelDB', () => {
  it('[X-02] says of every key what LevelDB says: logs, tables, levels, deletions, large values, opened again', async () => {
    const path = join(folder, 'random');
    const random = pseudoRandom(5);
    const all = Array.from({ length: 900 }, (_, i) => `${'abc'[i % 3]}/${String(i * 7).padStart(8, '0')}`);
    let database = written(path);
    await database.open();
    let deepest = 0;
    for (let round = 0; round < 60; round++) {
      const batch = Array.from({ length: 1 + random(60) }, () => {
        const key = all[random(all.length)]!;
        if (random(4) === 0) return { type: 'del', key } as const;
        const length = [random(30), random(4000), 50_000][random(40) === 0 ? 2 : random(2)]!;
        return { type: 'put', key, value: new Uint8Array(length).fill(random(256)) } as const;
      });
      await database.batch(batch, { sync: random(2) === 0 } as object);
      if (round % 7 === 3) await database.compactRange('a', `${'abc'[random(3)]}~`);
      if (round % 20 === 19) {
        await database.close();
        database = written(path);
        await database.open();
      }
      if (round % 4 !== 0) continue;
      // LevelDB has it open and may be merging.
      const found = contents(path, [...all, 'a', 'b/', 'zz']);
      for (const key of all) {
        const value = database.getSync(key);
        const text = value === undefined ? '-' : Buffer.from(value).toString('latin1');
        expect(found.get(key) === text, `${key} in round ${round}`).toBe(true);
      }
      for (const none of ['a', 'b/', 'zz']) expect(found.get(none)).toBe('-');
      deepest = Math.max(deepest, tablesIn(path).length);
    }
    await database.close();
    expect(deepest).toBeGreaterThan(3);
  });

  it('[X-02] beside a writer: whole batches, all that were done before, whatever LevelDB moves meanwhile', async () => {
    const path = join(folder, 'busy');
    const database = written(path, 20_000);
    await database.open();
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
    let done = -1;
    let issued = -1;
    let waiting: Promise<void> = Promise.resolve();
    for (let round = 0; round < 400; round++) {
      const value = Buffer.alloc(300, `${round} `);
      const batch = keys.map((key) => ({ type: 'put', key, value }) as const);
      issued = round;
      waiting = waiting.then(() => database.batch(batch)).then(() => void (done = round));
      if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      const before = done;
      const found = new Set(contents(path, keys).values());
      expect(found.size).toBe(1);
      const [text] = found;
      const seen = text === '-' ? -1 : Number(text!.split(' ')[0]);
      expect(seen).toBeGreaterThanOrEqual(before);
      expect(seen).toBeLessThanOrEqual(issued);
      if (round % 8 === 0) await waiting;
    }
    await waiting;
    await database.close();
    expect(tablesIn(path).length).toBeGreaterThan(0);
  });

  it('[X-02] a log that a writer left torn ends with its last whole batch; damage before another is told', async () => {
    const path = join(folder, 'torn');
    const database = written(path, 4 << 20);
    await database.open();
    for (let i = 0; i < 30; i++) await database.put(`k${i}`, new Uint8Array(3000).fill(i + 1));
    await database.close();
    const name = readdirSync(path).find((file) => file.endsWith('.log'))!;
    const log = readFileSync(join(path, name));
    const keys = Array.from({ length: 30 }, (_, i) => `k${i}`);
    const countOf = (bytes: Uint8Array): number => {
      const copy = join(folder, 'torn-copy');
      rmSync(copy, { recursive: true, force: true });
      cpSync(path, copy, { recursive: true });
      writeFileSync(join(copy, name), bytes);
      return [...contents(copy, keys).values()].filter((value) => value !== '-').length;
    };
    expect(countOf(log)).toBe(30);
    for (let length = log.length - 1; length > 0; length -= 1571) {
      const whole = [...logRecords(log.subarray(0, length))].length;
      expect(countOf(log.subarray(0, length))).toBe(whole);
      // A file that was made longer before its contents came.
      expect(countOf(Buffer.concat([log.subarray(0, length), Buffer.alloc(5000)]))).toBe(whole);
    }
    for (const at of [10, 5000, 32_800, 60_000]) {
      const bent = Buffer.from(log);
      bent[at]! ^= 1;
      expect(() => countOf(bent), String(at)).toThrow(/^the database log \d+\.log is damaged: there is damage at/);
    }
    const last = Buffer.from(log);
    last[log.length - 1]! ^= 1;
    expect(countOf(last)).toBe(29);
  });

  it('[X-02] every byte of a table, manifest and CURRENT that is another is refused, or is nothing that is read', async () => {
    const path = join(folder, 'bytes');
    const database = written(path);
    await database.open();
    for (let i = 0; i < 40; i++) await database.put(`k${i}`, new Uint8Array(100).fill(i));
    await database.close();
    await (await reopened(path)).close();
    const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
    const expected = contents(path, keys);
    expect(tablesIn(path).length).toBe(1);
    let refused = 0;
    for (const file of readdirSync(path).filter((name) => /ldb$|^MANIFEST|^CURRENT/.test(name))) {
      const whole = readFileSync(join(path, file));
      for (let at = 0; at < whole.length; at += file.endsWith('ldb') ? 7 : 2) {
        const bent = Buffer.from(whole);
        bent[at]! ^= 1 << (at % 8);
        writeFileSync(join(path, file), bent);
        try {
          expect(contents(path, keys)).toEqual(expected);
        } catch (error) {
          expect(error).toMatchObject({ code: 'E_RECORDING', message: /^the database/ });
          refused++;
        }
      }
      writeFileSync(join(path, file), whole);
    }
    expect(refused).toBeGreaterThan(600);
  });
  async function reopened(path: string): Promise<Written> {
    const database = written(path);
    await database.open();
    return database;
  }

  it('[X-02] what is missing is missing for good when nothing has moved, and is named', async () => {
    const path = join(folder, 'missing');
    const database = written(path);
    await database.open();
    await database.put('k', new Uint8Array(9));
    await database.close();
    await (await reopened(path)).close();
    for (const name of [tablesIn(path)[0]!, 'CURRENT', readdirSync(path).find((file) => /^MANIFEST/.test(file))!]) {
      const copy = join(folder, `without ${name}`);
      cpSync(path, copy, { recursive: true });
      rmSync(join(copy, name));
      expect(() => Database.open(copy)).toThrow(`${name} is missing`);
    }
    mkdirSync(join(folder, 'none'));
    expect(() => Database.open(join(folder, 'none'))).toThrow('the database file CURRENT is missing');
    expect(() => Database.open(join(folder, 'nowhere'))).toThrow('the database is missing');
  });

  it('[X-02] a table that is merged away while the database is being opened is looked for where it has gone', async () => {
    const path = join(folder, 'merged');
    const database = written(path);
    const before = join(folder, 'merged-before');
    await database.open();
    for (let i = 0; i < 60; i++) await database.put(`k${i}`, new Uint8Array(1000).fill(i));
    await database.compactRange('a', 'z');
    cpSync(path, before, { recursive: true });
    for (let i = 0; i < 60; i += 2) await database.put(`k${i}`, new Uint8Array(1000).fill(100));
    await database.compactRange('a', 'z');
    await database.close();
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    const merged = contents(path, keys);
    expect(merged).not.toEqual(contents(before, keys));
    const { open } = PlainFile;
    let moved = false;
    const spy = vi.spyOn(PlainFile, 'open').mockImplementation((file, place) => {
      if (!moved && file.endsWith('.ldb')) {
        moved = true;
        rmSync(before, { recursive: true });
        cpSync(path, before, { recursive: true });
      }
      return open.call(PlainFile, file, place);
    });
    try {
      expect(contents(before, keys)).toEqual(merged);
    } finally {
      spy.mockRestore();
    }
    expect(moved).toBe(true);
  });

  it('[X-02] nothing is read before its size is bounded: a manifest, a log of 2^40 bytes', async () => {
    const path = join(folder, 'sparse');
    const database = written(path);
    await database.open();
    await database.put('k', new Uint8Array(9));
    await database.close();
    const files = readdirSync(path);
    for (const name of [files.find((file) => /^MANIFEST/.test(file))!, files.find((file) => file.endsWith('.log'))!]) {
      const { size } = statSync(join(path, name));
      truncateSync(join(path, name), 2 ** 40);
      expect(() => Database.open(path)).toThrow(/too large|too much/);
      truncateSync(join(path, name), size);
    }
    expect(contents(path, ['k']).get('k')).toBe('\0'.repeat(9));
  });
});
