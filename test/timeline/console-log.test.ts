import { describe, expect, test } from 'vitest';
import { ConsoleLog, HEAD_BYTES, TAIL_BYTES } from '../../src/timeline/console-log.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
/** A log with one line of 16 bytes for each of the ticks 10, 20 and so on. */
function lines(count: number): ConsoleLog {
  const log = new ConsoleLog();
  for (let i = 1; i <= count; i++) log.add(i * 10, bytes(`line ${String(i).padStart(10)}\n`));
  log.reached(count * 10);
  return log;
}
const line = (i: number): string => `line ${String(i).padStart(10)}\n`;
/** What a store gives back. */
function stored(log: ConsoleLog): ConsoleLog {
  const again = new ConsoleLog();
  again.load(log.encode());
  return again;
}
const HEAD_LINES = HEAD_BYTES / 16;
const MANY = 4 * HEAD_LINES + 1234;

describe('the console log', () => {
  test('has each byte from the first state that shows it', () => {
    const log = lines(3);
    for (const l of [log, stored(log)]) {
      expect([0, 9, 10, 19, 20, 30, 99].map((tick) => l.textAt(tick))).toEqual(
        [0, 0, 1, 1, 2, 3, 3].map((n) => [1, 2, 3].slice(0, n).map(line).join('')),
      );
      expect(l.ticks).toEqual([10, 20, 30]);
      expect(l.leftOut).toBe(0);
    }
  });
  test('passes over what it knows', () => {
    const log = lines(3);
    log.add(20, bytes('again'));
    expect(log.textAt(30)).toBe([1, 2, 3].map(line).join(''));
  });
  test('joins what becomes visible at one tick', () => {
    const log = new ConsoleLog();
    for (const part of ['a', 'b', 'c']) log.add(7, bytes(part));
    log.add(8, bytes('d'));
    expect([log.textAt(7), log.textAt(8), log.ticks]).toEqual(['abc', 'abcd', [7, 8]]);
  });
  test('shows a character once it has come whole', () => {
    const log = new ConsoleLog();
    const snowman = bytes('\u2603');
    log.add(1, snowman.subarray(0, 2));
    log.add(2, snowman.subarray(2));
    expect([log.textAt(1), log.textAt(2)]).toEqual(['', '\u2603']);
  });
  test('keeps beginning and end of a long output, to the byte and the tick, and says what is left out', () => {
    const log = lines(MANY);
    const left = MANY * 16 - HEAD_BYTES - TAIL_BYTES;
    const firstKept = MANY - TAIL_BYTES / 16;
    const head = Array.from({ length: HEAD_LINES }, (_, i) => line(i + 1)).join('');
    const note = `\n[${left} bytes of console output are not kept]\n`;
    for (const l of [log, stored(log), stored(stored(log))]) {
      expect(l.leftOut).toBe(left);
      expect(l.textAt(10 * 100)).toBe(head.slice(0, 1600));
      expect(l.textAt(10 * HEAD_LINES) === head).toBe(true);
      expect(l.textAt(10 * HEAD_LINES + 9) === head).toBe(true);
      for (const tick of [10 * HEAD_LINES + 10, 10 * (firstKept - 5), 10 * firstKept])
        expect(l.textAt(tick) === head + note, `${tick}`).toBe(true);
      expect(l.textAt(10 * firstKept + 10) === head + note + line(firstKept + 1)).toBe(true);
      expect(l.textAt(10 * MANY).endsWith(line(MANY - 1) + line(MANY))).toBe(true);
      expect(l.textAt(10 * MANY).length).toBe(HEAD_BYTES + note.length + TAIL_BYTES);
      const { ticks } = l;
      expect(ticks.length).toBe(HEAD_LINES + 1 + TAIL_BYTES / 16);
      expect([ticks[HEAD_LINES - 1], ticks[HEAD_LINES], ticks[HEAD_LINES + 1]]).toEqual(
        [HEAD_LINES, HEAD_LINES + 1, firstKept + 1].map((n) => n * 10),
      );
    }
  });
  test('the text at a tick begins with the text at every tick before', () => {
    const log = stored(lines(MANY));
    const ticks = log.ticks.filter((_, i) => i % 9999 === 0 || Math.abs(i - HEAD_LINES) < 3);
    let before = '';
    for (const tick of ticks) {
      const text = log.textAt(tick);
      expect(text.startsWith(before), `${tick}`).toBe(true);
      before = text;
    }
  });
  test('goes on from what was stored as if it had never been away', () => {
    for (const count of [HEAD_LINES + 3, MANY]) {
      const [one, two] = [lines(count), stored(lines(count))];
      for (const log of [one, two])
        for (let i = 1; i <= 2 * HEAD_LINES; i++) log.add((count + i) * 10, bytes(line(count + i)));
      expect(two.ticks.length).toBe(one.ticks.length);
      const end = (count + 2 * HEAD_LINES) * 10;
      for (const tick of [1, count * 10, end - 10000, end]) expect(two.textAt(tick) === one.textAt(tick)).toBe(true);
      expect(Buffer.compare(one.encode(), two.encode())).toBe(0);
    }
  });
});

describe('a guest that prints for ever', () => {
  test('costs three bytes a byte that is kept at most, one where it prints lines, and never more', () => {
    const single = new ConsoleLog();
    let most = 0;
    const one = Uint8Array.of(0x41);
    for (let tick = 1; tick <= 2_500_000; tick++) {
      single.add(tick * 3, one);
      if (tick % 500_000 === 0) most = Math.max(most, single.encode().length);
    }
    expect(most).toBeLessThan(3.01 * (HEAD_BYTES + TAIL_BYTES));
    const wide = new ConsoleLog();
    for (let tick = 1; tick <= 100_000; tick++) wide.add(tick * 1000, bytes('x'.repeat(80)));
    expect(wide.encode().length).toBeLessThan(1.06 * (HEAD_BYTES + TAIL_BYTES));
    expect(wide.leftOut).toBe(8_000_000 - HEAD_BYTES - TAIL_BYTES);
  });
  test('with one enormous piece keeps its two ends', () => {
    const log = new ConsoleLog();
    const huge = new Uint8Array(5 << 20).map((_, i) => 0x30 + (i % 10));
    log.add(5, bytes('a'));
    log.add(6, huge);
    log.reached(6);
    for (const l of [log, stored(log)]) {
      const text = l.textAt(6);
      expect(text.slice(0, 12)).toBe('a01234567890');
      expect(text.slice(-3)).toBe('789');
      expect(text.length).toBeLessThan(HEAD_BYTES + TAIL_BYTES + 100);
      expect(l.ticks).toEqual([5, 6]);
    }
  });
});

describe('bytes that are no log', () => {
  const good = lines(100).encode();
  test('are a RangeError, whatever is cut off or changed', () => {
    for (let length = 0; length < good.length; length += 7)
      expect(() => new ConsoleLog().load(good.subarray(0, length))).toThrow(RangeError);
    for (let at = 0; at < good.length; at++) {
      const bad = good.slice();
      bad[at] = bad[at]! ^ 0xff;
      const log = new ConsoleLog();
      try {
        log.load(bad);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
        continue;
      }
      expect(log.textAt(1e9).length).toBeLessThan(HEAD_BYTES + TAIL_BYTES + 100);
    }
  });
});
