/**
 * What guests, recordings and file names say, as it may be shown: nothing in it moves the cursor, changes colours, titles or the
 * direction of writing, or begins a line. Only the console itself is passed on as it is.
 */

/** Controls (C0, DEL, C1), format characters (bidirectional ones among them), line and paragraph separators, halves of pairs. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Written as in TEXT of --type. */
const NAMED: Readonly<Record<string, string>> = {
  '\0': '\\0',
  '\b': '\\b',
  '\n': '\\n',
  '\r': '\\r',
  '\x1b': '\\e',
};

function escaped(control: string): string {
  const code = control.codePointAt(0)!;
  const digits = code.toString(16);
  return NAMED[control] ?? (code < 0x100 ? `\\x${digits.padStart(2, '0')}` : `\\u{${digits}}`);
}

/** A line with its control characters as `\e`, `\n`, `\x9b`, `\u{202e}`; tabs stay. */
export const visible = (line: string): string => line.replaceAll(CONTROL, (c) => (c === '\t' ? c : escaped(c)));

/** Lines with their control characters visible. */
export const visibleLines = (text: string): string => text.split('\n').map(visible).join('\n');

/** JSON that means the same, in ASCII where a terminal could take it for more than text. */
export const visibleJson = (json: string): string =>
  json.replaceAll(CONTROL, (c) => Array.from({ length: c.length }, (_, i) => unicode(c.charCodeAt(i))).join(''));
const unicode = (unit: number): string => `\\u${unit.toString(16).padStart(4, '0')}`;
