/** Prints every instruction form the decoder reaches: `node tools/run.mjs forms [16|32|64] [--system|--semantics] [--names]`. */
import { enumerateForms } from '../src/x86/decode/enumerate.ts';
import type { CodeMode } from '../src/x86/form.ts';
import { commandLine, oneOf } from './command-line.ts';

const { values, positionals } = commandLine({
  allowPositionals: true,
  options: { system: { type: 'boolean' }, semantics: { type: 'boolean' }, names: { type: 'boolean' } },
});
const BITS = ['16', '32', '64'];
const modes = positionals.map((bits) => BITS.indexOf(oneOf(bits, 'mode', BITS)) as CodeMode);
if (modes.length === 0) modes.push(1, 2);
const lines = new Map<string, Set<string>>();
for (const mode of modes) {
  for (const [form, bytes] of enumerateForms(mode, 'x86-64-v2')) {
    if (values.system && !form.system) continue;
    if (values.semantics && form.system) continue;
    const hex = Array.from(bytes, (x) => x.toString(16).padStart(2, '0')).join(' ');
    const line = values.names ? form.name : `${form.key}${form.system ? ' system' : ''}`;
    const seen = lines.get(line) ?? new Set();
    lines.set(line, seen.add(`${[16, 32, 64][mode]}: ${hex}`));
  }
}
for (const [line, seen] of [...lines].sort(([a], [b]) => (a < b ? -1 : 1)))
  console.log(values.names ? line : `${line.padEnd(44)} ${[...seen].join('   ')}`);
console.error(`${lines.size} lines`);
