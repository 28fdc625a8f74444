import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { compareCalls, untilFirstTimer } from '../../../tools/xen-trace/compare.ts';
import { type Call, parseTrace } from '../../../tools/xen-trace/trace.ts';

/** A folder of traces to check the reader on; they are not part of this repository. */
const TRACES = process.env.HINDSIGHT_XEN_TRACES ?? '';

const SEND = 'H v0 rip=10 op=32 4 40e000 0 0 0 = 0';
const YIELD = 'H v0 rip=10 op=29 0 0 51 0 0 = 0';
const MAP = 'H v0 rip=20 op=14 411000 551da007 2 0 0 = 0';
const PIN = 'H v0 rip=30 op=26 40eea8 3 0 7ff0 0 = 0';
const VERSION = 'H v0 rip=30 op=17 0 0 0 0 0 = 40011';
const TIMER = 'H v0 rip=30 op=24 8 0 1000 0 0 = 0';
const log = (...lines: string[]): Call[] => parseTrace(lines.join('\n'));

describe('comparing hypercall logs', () => {
  test('takes other frames, addresses and numbers of yields as equal', () => {
    const moved = MAP.replace('551da007', '1234007').replace('rip=20', 'rip=99');
    const result = compareCalls(log(MAP, SEND, YIELD, YIELD, PIN), log(moved, YIELD, SEND, PIN));
    expect(result).toMatchObject({ equalCalls: 3, differences: [], lost: false, yields: { expected: 2, ours: 1 } });
  });

  test('finds another result, another sub-operation and another operation', () => {
    const refused = PIN.replace('= 0', '= ffffffffffffffea');
    for (const [ours, theirs] of [
      [refused, PIN],
      [SEND.replace('op=32 4', 'op=32 9'), SEND],
      [MAP, PIN],
    ]) {
      const result = compareCalls(log(VERSION, theirs!, VERSION), log(VERSION, ours!, VERSION));
      expect(result).toMatchObject({ equalCalls: 2, lost: false });
      expect(result.differences.map(({ expected, ours }) => [expected.length, ours.length])).toEqual([[1, 1]]);
      expect(result.differences[0]!.expected[0]!.line).toBe(2);
    }
  });

  test('goes on behind a missing and an additional call', () => {
    const result = compareCalls(
      log(MAP, SEND, PIN, VERSION, MAP, PIN, SEND, MAP, PIN, VERSION),
      log(MAP, PIN, VERSION, MAP, PIN, SEND, SEND, MAP, PIN, VERSION),
    );
    expect(result.differences.map(({ expected, ours }) => [expected.length, ours.length])).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(result.lost).toBe(false);
  });

  test('says so when the logs do not come together again', () => {
    const result = compareCalls(log(MAP, PIN, SEND), log(MAP, VERSION));
    expect(result).toMatchObject({ equalCalls: 1, lost: true });
    expect(result.differences).toHaveLength(1);
  });

  test('an empty log of ours is a difference', () => {
    expect(compareCalls(log(MAP), []).differences).toHaveLength(1);
  });

  test('counts calls by name and error', () => {
    const refused = PIN.replace('= 0', '= ffffffffffffffea');
    expect(compareCalls(log(PIN, PIN, MAP), log(PIN, refused, MAP)).counts).toEqual([
      { name: 'mmuext_op', expected: 2, ours: 1 },
      { name: 'update_va_mapping', expected: 1, ours: 1 },
      { name: 'mmuext_op (err -22)', expected: 0, ours: 1 },
    ]);
  });

  test('cuts at the first call that arms a timer', () => {
    expect(untilFirstTimer(log(MAP, TIMER, PIN))).toHaveLength(1);
    expect(untilFirstTimer(log(MAP, PIN))).toHaveLength(2);
  });
});

describe.skipIf(!existsSync(TRACES))('traces in $HINDSIGHT_XEN_TRACES', () => {
  const files = existsSync(TRACES) ? readdirSync(TRACES).filter((name) => name.endsWith('.trace.gz')) : [];

  test.each(files)('%s reads completely and agrees with itself', (name) => {
    const calls = parseTrace(gunzipSync(readFileSync(join(TRACES, name))).toString('latin1'));
    const result = compareCalls(calls, calls);
    expect(result.differences).toEqual([]);
    expect(result.equalCalls).toBeGreaterThan(50);
  });

  test('one refused call in the middle of GRUB is the one difference found', () => {
    const calls = parseTrace(gunzipSync(readFileSync(join(TRACES, 'grub-x86_64.trace.gz'))).toString('latin1'));
    const ours = calls.map((call, index) => (index === 20 ? { ...call, ret: -22n } : call));
    const { differences } = compareCalls(calls, ours);
    expect(differences).toHaveLength(1);
    expect(differences[0]!.ours[0]).toBe(ours[20]);
  });
});
