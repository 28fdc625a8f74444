import { describe, expect, test } from 'vitest';
import { firstInConsole, staysTrue } from '../../src/inspect/console-search.ts';
import { parsePredicate } from '../../src/inspect/expression.ts';
import { ConsoleLog, HEAD_BYTES, TAIL_BYTES } from '../../src/timeline/console-log.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const none = async (): Promise<void> => {};
const predicate = (source: string) =>
  parsePredicate(source, { vcpus: 1, symbol: () => null, eventFields: () => null, question: () => null });
function logOf(pieces: readonly (readonly [number, string])[]): ConsoleLog {
  const log = new ConsoleLog();
  for (const [tick, text] of pieces) log.add(tick, bytes(text));
  return log;
}

describe('patterns that more text cannot undo', () => {
  test.each(['console ~ "panic"', " console~'a.*b' ", 'console ~ "^\\\\[ *\\\\d+"', 'console ~ "(?<!no )panic"'])(
    '%s',
    (source) => expect(staysTrue(source)).toBe(true),
  );
  test.each([
    'console ~ "panic$"',
    'console ~ "panic\\\\b"',
    'console ~ "panic(?!!)"',
    'console ~ "panic(?=!)"',
    'console ~ "panic\\x24"',
    '!(console ~ "panic")',
    'console ~ "a" && console ~ "b"',
    'console ~ "a" || !(console ~ "b")',
    'count(console ~ "a") == 1',
    'rax == 1',
  ])('not %s', (source) => expect(staysTrue(source)).toBe(false));
});

describe('the first state', () => {
  const log = logOf([
    [10, 'foo'],
    [20, 'bar\n'],
    [30, 'foo\nba'],
    [40, 'r\n'],
  ]);
  test.each([
    ['console ~ "foo"', 10],
    ['console ~ "foo$"', 10],
    ['console ~ "foobar"', 20],
    ['console ~ "^bar$"', 40],
    ['console ~ "^ba$"', 30],
    ['!(console ~ "o$")', 0],
    ['console ~ "foo" && !(console ~ "foo$")', 20],
    ['console ~ "never"', null],
  ])('%s', async (source, tick) => {
    expect((await firstInConsole(predicate(source), log, { from: 0, to: 50 }, none)).tick).toBe(tick);
  });
  test('is looked for in the range only', async () => {
    const at = async (from: number, to: number): Promise<number | null> =>
      (await firstInConsole(predicate('console ~ "foobar"'), log, { from, to }, none)).tick;
    expect([await at(0, 19), await at(0, 20), await at(25, 50)]).toEqual([null, 20, 25]);
  });
  test('of a guest that printed for ever: exact in what is kept, in few looks', async () => {
    const log = new ConsoleLog();
    const lines = Math.ceil((HEAD_BYTES + 3 * TAIL_BYTES) / 8);
    for (let i = 1; i <= lines; i++) log.add(i * 7, bytes(`${String(i).padStart(7, '0')}\n`));
    const find = (n: number) =>
      firstInConsole(predicate(`console ~ "${String(n).padStart(7, '0')}"`), log, { from: 0, to: lines * 7 }, none);
    for (const n of [1, 1000, HEAD_BYTES / 8, lines - TAIL_BYTES / 8 + 1, lines]) {
      const { tick, probes } = await find(n);
      expect(tick).toBe(n * 7);
      expect(probes).toBeLessThan(25);
    }
    expect((await find(HEAD_BYTES / 8 + 10)).tick).toBe(null);
  });
});
