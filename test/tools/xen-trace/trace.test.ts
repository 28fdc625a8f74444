import { describe, expect, test } from 'vitest';
import { nameOf } from '../../../tools/xen-trace/names.ts';
import { parseLog, parseTrace } from '../../../tools/xen-trace/trace.ts';

const names = (text: string): string[] => parseTrace(text).map((call) => nameOf(call.kind, call.op, call.args));

describe('traces of real Xen', () => {
  test('names operations and sub-operations as the public headers do', () => {
    const text = [
      'H v0 rip=1dc op=32 4 40ed8c 0 0 0 = 0',
      'H v0 rip=1dc op=29 2 40ef1c 0 0 0 = 0',
      'H v0 rip=1dc op=21 0 4 0 0 0 = 0',
      // memory_op counts done extents above bit 6 of its command.
      'H v0 rip=1dc op=12 146 1000 0 0 0 = 8',
      'H v0 rip=1dc op=26 1000 3 0 7ff0 0 = 0',
      'I v0 rip=1dc op=23 0 0 0 0 0 = 0',
      'H v0 rip=1dc op=33 1c 0 0 0 0 = 0',
    ].join('\n');
    expect(names(text)).toEqual([
      'event_channel_op.send',
      'sched_op.shutdown',
      'vm_assist.enable.4',
      'memory_op.populate_physmap',
      'mmuext_op',
      'iret',
      'physdev_op.28',
    ]);
  });

  test('counts a preempted call once: first arguments, last result', () => {
    const calls = parseTrace(
      [
        'P v0 rip=10 op=26 5000 3 0 7ff0 0 = 1a',
        'P v0 rip=10 op=26 5000 80000002 0 7ff0 0 = 1a',
        'H v0 rip=10 op=26 5000 80000001 0 7ff0 0 = ffffffffffffffea',
        'H v0 rip=10 op=26 6000 1 0 7ff0 0 = 0',
      ].join('\n'),
    );
    expect(calls.map(({ args, ret, line }) => [args.slice(0, 2), ret, line])).toEqual([
      [[0x5000n, 3n], -22n, 3],
      [[0x6000n, 1n], 0n, 4],
    ]);
  });

  test('joins a multicall that was preempted inside an entry', () => {
    const text = [
      'M v0 rip=10 op=14 1000 2000 0 0 0 = 0',
      'M v0 rip=10 op=26 5000 1 0 7ff0 0 = 1a',
      'P v0 rip=10 op=13 8000 2 0 0 0 = d',
      'M v0 rip=10 op=26 5000 80000001 0 7ff0 0 = 0',
      'H v0 rip=10 op=13 8020 1 0 0 0 = 0',
    ].join('\n');
    expect(names(text)).toEqual(['[mc]update_va_mapping', '[mc]mmuext_op', 'multicall']);
    expect(parseTrace(text)[2]!.args.slice(0, 2)).toEqual([0x8000n, 2n]);
  });

  test('counts what our own log has in parts once, too', () => {
    const line = (kind: string, op: number, args: string[], ret: string): string =>
      JSON.stringify({ kind, vcpu: 0, rip: '0x10', op, args, ret });
    const calls = parseLog(
      [
        line('P', 1, ['0x5000', '0x3'], '0x1'),
        line('H', 1, ['0x5020', '0x80000001'], '0x0'),
        line('M', 26, ['0x6000', '0x2'], '0x1a'),
        line('P', 13, ['0x8000', '0x1'], '0xd'),
        line('M', 26, ['0x6018', '0x80000001'], '0x0'),
        line('H', 13, ['0x8000', '0x1'], '0x0'),
      ].join('\n'),
    );
    expect(calls.map(({ kind, op, args, ret }) => [kind, op, args, ret])).toEqual([
      ['H', 1, [0x5000n, 3n], 0n],
      ['M', 26, [0x6000n, 2n], 0n],
      ['H', 13, [0x8000n, 1n], 0n],
    ]);
  });

  test('reads errors of 64-bit and 32-bit guests as the same negative number', () => {
    const line = (ret: string): string => `H v0 rip=10 op=24 4 0 0 0 0 = ${ret}`;
    expect(parseTrace(line('fffffffffffffffe'))[0]!.ret).toBe(-2n);
    expect(parseTrace(line('fffffffe'))[0]!.ret).toBe(-2n);
    expect(parseTrace(line('80000000'))[0]!.ret).toBe(0x80000000n);
  });

  test('refuses a line of another shape by its number', () => {
    expect(() => parseTrace('H v0 rip=10 op=1 0 = 0\nH v0 rip=xyz')).toThrow('line 2');
  });
});

describe('our own log', () => {
  test('reads hexadecimal strings and fills in kind and vcpu', () => {
    const [call, iret] = parseLog(
      '{"vcpu":0,"rip":"0xffffffff81a442b5","op":"0x1a","args":["0x1000","2"],"ret":"0xffffffffffffffea"}\n' +
        '{"rip":"10","op":23,"args":[],"ret":"0x0"}\n',
    );
    expect(call).toEqual({
      kind: 'H',
      vcpu: 0,
      rip: 0xffffffff81a442b5n,
      op: 26,
      args: [0x1000n, 2n],
      ret: -22n,
      line: 1,
    });
    expect(iret!.kind).toBe('I');
  });

  test.each([
    ['{"rip":"0x1","op":1,"args":[],"ret":1.5}', 'ret'],
    ['{"rip":"0x1","op":1,"ret":"0x0"}', 'args'],
    ['{"rip":"0x1","op":1,"args":[],"ret":"0x0","kind":"X"}', 'kind'],
    ['not json', 'JSON'],
  ])('refuses %s', (line, words) => {
    expect(() => parseLog(`\n${line}`)).toThrow(/^line 2: /);
    expect(() => parseLog(line)).toThrow(words);
  });
});
