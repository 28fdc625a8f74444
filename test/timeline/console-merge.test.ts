/** A kernel's line that comes by console_io and by the ring is told once. */
import { describe, expect, it } from 'vitest';
import { ConsoleMerge, type ConsoleWay } from '../../src/timeline/console-merge.ts';
import { endingsGuest, recordGuest } from '../support/time-travel.ts';

/** What is told of these pieces, and what is left at the end. */
function told(...pieces: ReadonlyArray<readonly [ConsoleWay, string]>): [string, string] {
  const merge = new ConsoleMerge();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const out = pieces.map(([way, piece]) => text(merge.add(way, new TextEncoder().encode(piece)))).join('|');
  return [out, text(merge.rest())];
}

describe('what comes by both ways', () => {
  it('is told as it comes first, in whatever pieces it comes again', () => {
    expect(told(['call', 'one\ntwo\n'], ['ring', 'on'], ['ring', 'e\r\ntwo\r\nthree\r\n'])).toEqual([
      'one\ntwo\n|||three\r\n'.replace('|||', '||'),
      '',
    ]);
    expect(told(['ring', 'one\n'], ['call', 'one\n'], ['ring', 'two\n'], ['call', 'two\n'])).toEqual([
      'one\n||two\n|',
      '',
    ]);
  });
  it('is told again where it comes again by the same way, or more often', () => {
    expect(told(['call', 'ok\nok\n'], ['ring', 'ok\nok\nok\n'])).toEqual(['ok\nok\n|ok\n', '']);
  });
  it('is held back only while it may be the same', () => {
    expect(told(['call', 'login\n'], ['ring', 'log'], ['ring', 'o: '], ['ring', 'x\n'])).toEqual([
      'login\n||logo: |x\n',
      '',
    ]);
    expect(told(['call', 'login\n'], ['ring', 'log'])).toEqual(['login\n|', 'log']);
    expect(told(['call', 'login\n'], ['ring', 'log\n'])).toEqual(['login\n|log\n', '']);
  });
  it('keeps blank lines and bytes that are no text', () => {
    expect(told(['call', '\na\n\n'], ['ring', '\n\na\n'])).toEqual(['\na\n\n|\n\n', '']);
  });
  it('is remembered for a bounded number of lines', () => {
    const line = (i: number): string => `line ${String(i).padStart(58, '0')}\n`;
    const all = Array.from({ length: 1200 }, (_, i) => line(i)).join('');
    const merge = new ConsoleMerge();
    const bytes = new TextEncoder().encode(all);
    expect(merge.add('call', bytes)).toEqual(bytes);
    const again = new TextDecoder().decode(merge.add('ring', bytes));
    expect(again.startsWith(line(0))).toBe(true);
    expect(again.endsWith(line(1199))).toBe(false);
  });

  it('is told once by a recording', async () => {
    const { run, outcome } = await recordGuest(endingsGuest('twice'));
    expect(run.console.textAt(outcome.tick)).toBe('early line\nsecond line\nthird line\ndone\n');
  });
});
