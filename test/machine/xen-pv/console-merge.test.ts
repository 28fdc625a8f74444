/** A kernel's line that comes by console_io and by the ring is told once. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ConsoleMerge, type ConsoleWay } from '../../../src/machine/xen-pv/console-merge.ts';
import { Replayer } from '../../../src/timeline/replayer.ts';
import { Run } from '../../../src/timeline/run.ts';
import { DATA, hex32, smallGuest } from '../../support/small-guest.ts';
import { endingsGuest, type Recorded, recordGuest, replayGuest } from '../../support/time-travel.ts';

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

describe('a line that is held back when the guest ends', () => {
  // console_io(write) of "one\n"; "on" into the ring, EVTCHNOP_send to its port; SCHEDOP_shutdown(poweroff)
  const config = smallGuest(
    `48 c7 c3 ${hex32(DATA)} 49 89 f7
     31 ff be 04 00 00 00 48 89 da b8 12 00 00 00 0f 05
     66 41 c7 87 00 24 00 00 6f 6e  41 c7 87 0c 2c 00 00 02 00 00 00
     bf 04 00 00 00 49 8d 77 50 b8 20 00 00 00 0f 05
     bf 02 00 00 00 48 8d 73 08 b8 1d 00 00 00 0f 05`,
    'one\n',
    0x2000,
  );
  const decoder = new TextDecoder();
  let printed = '';
  let recorded: Recorded;
  beforeAll(async () => {
    recorded = await recordGuest(config, { output: (data) => (printed += decoder.decode(data)) });
  });

  it('is told by the recorder', () => {
    expect([recorded.outcome.verdict.kind, printed]).toEqual(['poweroff', 'one\non']);
  });
  it('is told by a replay, to the same bytes', async () => {
    let again = '';
    await replayGuest(config, recorded.recording, (_, run) => {
      run.onOutput = (data) => (again += decoder.decode(data));
    });
    expect(again).toBe(printed);
  });
  it('is told once by a replay that differs and looks for the reason', async () => {
    const run = new Run(config);
    let again = '';
    run.onOutput = (data) => (again += decoder.decode(data));
    const replayer = new Replayer(run, recorded.recording);
    replayer.sabotage = () => run.machine.cpu.setGpr(0, 5n);
    const replay = replayer.replay({ breathe: async () => {}, progress: () => {} });
    await expect(replay).rejects.toThrow('this run was disturbed');
    expect(again).toBe(printed);
  });
});
