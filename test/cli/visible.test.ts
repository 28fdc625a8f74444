/** Whatever guests, recordings and files are called and say, it is shown and does nothing to the terminal. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toJson } from '../../src/cli/json.ts';
import { visible, visibleJson, visibleLines } from '../../src/cli/visible.ts';
import { EmulatorError } from '../../src/core/errors.ts';
import { Bench } from './fake-backend.ts';

const chars = (...codes: readonly number[]): string => String.fromCodePoint(...codes);

describe('a line made visible', () => {
  it.each([
    ['plain text, ünï, 漢字, 🙂 and\ta tab', 'plain text, ünï, 漢字, 🙂 and\ta tab'],
    ['\x1b[31mred\x1b]0;title\x07', '\\e[31mred\\e]0;title\\x07'],
    ['a\nb\r\0\b\x7f', 'a\\nb\\r\\0\\b\\x7f'],
    [`${chars(0x9b)}2J${chars(0x85, 0x90)}`, '\\x9b2J\\x85\\x90'],
    [chars(0x202e, 0x2066, 0x200f, 0x61c), '\\u{202e}\\u{2066}\\u{200f}\\u{61c}'],
    [chars(0x2028, 0x2029, 0x200b, 0xfeff, 0xad), '\\u{2028}\\u{2029}\\u{200b}\\u{feff}\\xad'],
    [chars(0xe0041), '\\u{e0041}'],
    ['\ud800', '\\u{d800}'],
  ])('%j is %j', (text, shown) => {
    expect(visible(text)).toBe(shown);
  });
  it('has every code that terminals obey (ECMA-48: C0, DEL, C1) in print', () => {
    for (let code = 0; code < 0xa0; code++)
      if (code < 0x20 || code >= 0x7f) expect(visible(chars(code)), `${code}`).toMatch(/^[ -~\t]+$/);
  });
  it('keeps lines where there are several', () => {
    expect(visibleLines('a\x1b\nb\r')).toBe('a\\e\nb\\r');
  });
  it('means the same in JSON', () => {
    const value = { text: `\x1b[0m ${chars(0x9b, 0x202e, 0x2028, 0xe0041)} \u00fc\ud800` };
    const json = visibleJson(JSON.stringify(value));
    expect(JSON.parse(json)).toEqual(value);
    expect(json).toMatch(/^[ -~\u00fc]+$/);
    expect(JSON.parse(toJson(value))).toEqual(value);
  });
});

/** Does what a terminal obeys: clears, retitles, forges a line, turns the writing round. */
const EVIL = `\x1b[2J\x1b]0;owned\x07${chars(0x9b)}31m\r\nE_FORGED: line${chars(0x202e)}\x7f`;
/** The colours of ours. */
const COLOURS = new RegExp(`${chars(0x1b)}\\[(1|2|22|3[1-9])m`, 'g');
/** The same, but that every string it gives, however deep, ends in {@link EVIL}. */
function evil<T>(value: T): T {
  const made = (): unknown => {
    if (typeof value === 'string') return value + EVIL;
    if (typeof value === 'function') return (...args: unknown[]) => evil(value(...args));
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
    if (value instanceof Promise) return value.then(evil);
    if (Array.isArray(value)) return value.map(evil);
    if (Symbol.asyncIterator in value) return eviled(value as unknown as AsyncIterable<unknown>);
    const get = (target: object, key: PropertyKey): unknown => {
      const member = Reflect.get(target, key, target);
      return evil(typeof member === 'function' ? member.bind(target) : member);
    };
    return new Proxy(value, { get });
  };
  return made() as T;
}
async function* eviled(values: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  for await (const value of values) yield evil(value);
}
/** Shown, and nothing else: text, tabs and the ends of lines. */
function expectHarmless(text: string): void {
  expect(text).not.toMatch(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  expect(text).not.toMatch(/^E_FORGED/m);
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.remove());

describe('every verb', () => {
  const VERBS = [
    'info',
    'ls',
    'why',
    'goto 5',
    'bisect --when rax==1',
    'events',
    'replay',
    'verify',
    'debug',
    'record kernel.elf -o new',
  ].map((line) => line.split(' '));
  const COMMANDS = 'regs\ndis 2\nbt\nwhere\nframe\nuntil rax == 9\nmem rsp\n';

  const located = (args: readonly string[]): string[] => args.map((x) => (x === 'kernel.elf' ? bench.image : x));
  beforeEach(() => {
    bench.backend.findings = [{ place: 'journal block 3', problem: 'checksum differs' }];
  });

  it.each(VERBS)('%s shows what guests and recordings say, and does not obey it', async (...args) => {
    bench.disguise = evil;
    for (const isTTY of [false, true]) {
      bench.isTTY = isTTY;
      const { out, err } = await bench.run(located(args), COMMANDS);
      expect(out).toContain('\\e[2J\\e]0;owned\\x07\\x9b31m\\r\\nE_FORGED: line\\u{202e}\\x7f');
      expectHarmless(out.replaceAll(COLOURS, ''));
      expectHarmless(err);
      if (isTTY && args[0] === 'why') expect(out).toMatch(COLOURS);
      if (!isTTY) expect(out).not.toMatch(COLOURS);
    }
  });

  it.each(VERBS)('%s --json has it as it is, in characters that a terminal only shows', async (...args) => {
    bench.disguise = evil;
    const { out, json } = await bench.run([...located(args), '--json'], COMMANDS);
    expectHarmless(out);
    expect(JSON.stringify(json())).toContain(JSON.stringify(EVIL).slice(1, -1));
  });

  it('debug shows the console in lines that do nothing', async () => {
    bench.disguise = evil;
    const { out } = await bench.run(['debug'], 'console\n');
    expect(out).toContain('line 2\n\\e[2J\\e]0;owned\\x07\\x9b31m\nE_FORGED: line\\u{202e}\\x7f\n');
  });

  it('tells an error about what has an evil name', async () => {
    bench.backend.failure = new EmulatorError('E_RECORDING', EVIL);
    for (const args of [['info'], ['info', EVIL], ['bisect', '--when', EVIL], ['record', EVIL], ['goto', EVIL]])
      for (const more of [[], ['--json']]) {
        const { out, err } = await bench.run([...args, ...more]);
        expect(err).toContain('E_');
        expectHarmless(err);
        expectHarmless(out);
      }
  });

  it('shows folders and files of evil names', async () => {
    bench.recording(`.hindsight/${EVIL}.hs`);
    writeFileSync(bench.path(`.hindsight/file${EVIL}.hs`), '');
    mkdirSync(bench.path(`.hindsight/folder${EVIL}.hs`));
    writeFileSync(bench.path(`.hindsight/folder${EVIL}.hs/x`), '');
    for (const args of [['ls'], ['info', EVIL], ['rm', EVIL], ['rm', `file${EVIL}`], ['ls', '--json']]) {
      const { out, err } = await bench.run(args);
      expect(out + err).toContain('E_FORGED');
      expectHarmless(out);
      expectHarmless(err);
    }
  });
});

it('lines have a width also on a terminal without a size', async () => {
  bench.isTTY = true;
  bench.columns = 0;
  bench.disguise = (backend) => {
    const open: typeof backend.open = async (path) => {
      const recording = await backend.open(path);
      return {
        ...recording,
        why: async (hooks, confirm) => ({ ...(await recording.why(hooks, confirm)), operand: 'one two three' }),
      };
    };
    return Object.assign(Object.create(backend), { open });
  };
  expect((await bench.run(['why'])).out).toMatch(/ one two three$/m);
});

describe('the console', () => {
  const CONSOLE = '\x1b[1;32mOK\x1b[0m\r\n';
  beforeEach(() => {
    bench.backend.guest = ({ console, log }) => {
      console(new TextEncoder().encode(CONSOLE));
      log(`(XEN) ${EVIL}`);
    };
  });
  it('is passed on as it is, live and replayed; lines of Xen are not', async () => {
    const { out } = await bench.run(['record', bench.image]);
    expect(out.startsWith(CONSOLE)).toBe(true);
    expectHarmless(out.slice(CONSOLE.length));
    expect(out).toContain('(XEN) \\e[2J');
    bench.backend.replayedConsole = CONSOLE;
    expect((await bench.run(['replay', '--console'])).out.startsWith(CONSOLE)).toBe(true);
    expect((await bench.run(['replay'])).out).not.toContain('OK');
  });
});
