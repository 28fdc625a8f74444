import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Keyboard } from '../../src/cli/keyboard.ts';
import { parseTypeRule } from '../../src/cli/parsers.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const taken = (keyboard: Keyboard, waiting = false): string => Buffer.from(keyboard.take(waiting)).toString();

describe('the keyboard', () => {
  it('answers what the guest prints since the last match, also in pieces', () => {
    const rules = [parseTypeRule('grub> $=>ls\\n'), parseTypeRule('grub> $=>halt\\n')];
    const keyboard = new Keyboard({ rules, file: null });
    keyboard.saw(bytes('welcome\ngru'));
    expect(taken(keyboard)).toBe('');
    keyboard.saw(bytes('b> '));
    expect(taken(keyboard)).toBe('ls\n');
    keyboard.saw(bytes('ls\n(xen/xvda)\n'));
    expect(taken(keyboard)).toBe('');
    keyboard.saw(bytes('grub> '));
    expect(taken(keyboard)).toBe('halt\n');
    keyboard.saw(bytes('grub> '));
    expect(taken(keyboard), 'each rule types once').toBe('');
  });

  it('types each rule once, and what a match has passed matches no other', () => {
    const rules = [
      parseTypeRule('login: =>root\\n'),
      parseTypeRule('login: .*# =>poweroff\\n'),
      parseTypeRule('x*=>y'),
    ];
    const keyboard = new Keyboard({ rules, file: null });
    keyboard.saw(bytes('login: '));
    expect(taken(keyboard)).toBe('root\ny');
    keyboard.saw(bytes('# login: '));
    expect(taken(keyboard)).toBe('');
    keyboard.saw(bytes('x # '));
    expect(taken(keyboard)).toBe('poweroff\n');
  });

  it('gives a file line by line, only while the guest waits', () => {
    const keyboard = new Keyboard({ rules: [], file: bytes('a\nb\nc') });
    expect(taken(keyboard)).toBe('');
    expect([1, 2, 3, 4].map(() => taken(keyboard, true))).toEqual(['a\n', 'b\n', 'c', '']);
  });

  it('wakes who waits for input when a key comes, and when the run stops', async () => {
    const keyboard = new Keyboard({ rules: [], file: null });
    const stop = new AbortController();
    const waiting = keyboard.arrival(stop.signal);
    keyboard.press(bytes('x'));
    await waiting;
    expect(taken(keyboard)).toBe('x');
    const again = keyboard.arrival(stop.signal);
    stop.abort();
    await again;
  });

  it('passes a terminal through, with Ctrl-C and Ctrl-] for itself', () => {
    const raw: boolean[] = [];
    const stdin = Object.assign(new PassThrough(), { setRawMode: (on: boolean) => raw.push(on) });
    const keyboard = new Keyboard({ rules: [], file: null });
    let quits = 0;
    const detach = keyboard.attach(stdin as unknown as NodeJS.ReadStream, () => quits++);
    expect(keyboard.live).toBe(true);
    stdin.emit('data', Buffer.from('ls\r'));
    stdin.emit('data', Buffer.from([0x1d, 0x63]));
    stdin.emit('data', Buffer.from([0x1d]));
    stdin.emit('data', Buffer.from([0x1d, 0x03]));
    expect(taken(keyboard)).toBe('ls\r\x03\x1d');
    expect(quits).toBe(1);
    stdin.emit('data', Buffer.from([0x1d, 0x71]));
    expect(quits).toBe(2);
    detach();
    expect(keyboard.live).toBe(false);
    expect(raw).toEqual([true, false]);
  });
});
