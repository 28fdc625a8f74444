import { describe, expect, it } from 'vitest';
import {
  parseCount,
  parseCpu,
  parseMemory,
  parseSize,
  parseTick,
  parseTime,
  parseTypeRule,
} from '../../src/cli/parsers.ts';
import { errorOf } from '../support/error.ts';

describe('sizes', () => {
  it.each([
    ['256M', 268_435_456],
    ['1G', 1_073_741_824],
    ['1.5G', 1_610_612_736],
    ['64k', 65_536],
    ['64KiB', 65_536],
    ['32MB', 33_554_432],
    ['4096', 4096],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text, '--memory')).toBe(bytes);
  });
  it.each(['', 'M', '256X', '-1M', '0', '0.3', '1e3', '99999999999G'])('%j is E_USAGE with the option', (text) => {
    expect(errorOf(() => parseSize(text, '--memory'))).toMatch(/^E_USAGE: --memory/);
  });
});

describe('guest memory', () => {
  it.each([
    ['4M', 4 * 2 ** 20],
    ['3960M', 3960 * 2 ** 20],
  ])('%s can be', (text, bytes) => {
    expect(parseMemory(text, '--memory')).toBe(bytes);
  });
  it.each([
    ['4000M', 'at most 3960 MiB'],
    ['100G', 'at most 3960 MiB'],
    ['9007199254740991', 'at most 3960 MiB'],
    ['4095k', 'at least 4 MiB'],
    ['33000000', 'pages of 4096 bytes'],
  ])('%s cannot be, and the limit is told', (text, limit) => {
    expect(errorOf(() => parseMemory(text, '--memory'))).toMatch(new RegExp(`^E_USAGE: --memory ${text}: .*${limit}`));
  });
});

describe('CPUs', () => {
  it.each(['x86-64-v1', 'x86-64-v2', 'x86-64-v1-intel', 'x86-64-v2-intel'])('%s is one', (name) => {
    expect(parseCpu(name, '--cpu')).toBe(name);
  });
  it.each(['', 'v2', 'x86-64', 'x86-64-v3', 'X86-64-V2'])('%j is E_USAGE that names the choice', (text) => {
    expect(errorOf(() => parseCpu(text, '--cpu'))).toMatch(
      /^E_USAGE: --cpu .*x86-64-v1, x86-64-v2, x86-64-v1-intel, x86-64-v2-intel$/,
    );
  });
});

describe('times', () => {
  it.each([
    ['30s', 30],
    ['500ms', 0.5],
    ['2m', 120],
    ['1h', 3600],
    ['1.5', 1.5],
  ])('%s is %d seconds', (text, seconds) => {
    expect(parseTime(text, '--idle-limit')).toBe(seconds);
  });
  it.each(['', '0', '0s', '30x', '-5s', 'soon', '9999999h', '9'.repeat(400)])(
    '%j is E_USAGE with the option',
    (text) => {
      expect(errorOf(() => parseTime(text, '--idle-limit'))).toMatch(/^E_USAGE: --idle-limit/);
    },
  );
});

describe('counts and ticks', () => {
  it('counts are whole and large enough', () => {
    expect(parseCount('1_000', '--limit-ticks')).toBe(1000);
    for (const text of ['0', '-1', '1.5', 'x', '9007199254740993', ''])
      expect(errorOf(() => parseCount(text, '--limit-ticks'))).toMatch(/^E_USAGE: --limit-ticks/);
  });
  it('ticks are inside the recording', () => {
    expect(parseTick('0', 1000)).toBe(0);
    expect(parseTick('1000', 1000)).toBe(1000);
    expect(parseTick('end-1', 1000)).toBe(999);
    expect(parseTick('12.5%', 1000)).toBe(125);
    for (const text of ['1001', 'end+1', 'end-1001', '101%'])
      expect(errorOf(() => parseTick(text, 1000))).toMatch(/^E_TICK/);
    for (const text of ['-1', 'x', '1.5', '']) expect(errorOf(() => parseTick(text, 1000))).toMatch(/^E_USAGE/);
  });
});

describe('typing rules', () => {
  it('split at the last arrow and know escapes', () => {
    expect(parseTypeRule('grub> $=>ls\\n').text).toBe('ls\n');
    expect(parseTypeRule('a=>b=>\\x1b\\t\\\\n').pattern.source).toBe('a=>b');
    expect(parseTypeRule('a=>b=>\\x1b\\t\\\\n').text).toBe('\x1b\t\\n');
    expect(parseTypeRule('x=>').text).toBe('');
    expect(parseTypeRule('^login: $=>root').pattern.test('Debian\nlogin: ')).toBe(true);
  });
  it.each(['no arrow', '=>text', '(=>x'])('%j is E_USAGE', (text) => {
    expect(errorOf(() => parseTypeRule(text))).toMatch(/^E_USAGE: --type/);
  });
});
