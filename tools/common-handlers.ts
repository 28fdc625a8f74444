/**
 * Writes src/engine/cold/common.ts: one instruction of every kind that occurs often in the code of given 64-bit ELF images.
 * `node tools/common-handlers.ts IMAGE...`: for Debian, its vmlinux and busybox.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { addressingOf } from '../src/engine/cold/handlers.ts';
import { dependsOnAddressing } from '../src/engine/cold/lower.ts';
import { decode } from '../src/x86/decode/decode.ts';
import type { Form, Insn } from '../src/x86/form.ts';
import { programOf } from '../src/x86/semantics/registry.ts';

/** A kind has to occur this often in one image. */
const OFTEN = 10;
const TARGET = new URL('../src/engine/cold/common.ts', import.meta.url);
const decode64 = (bytes: Uint8Array, at: number, end: number): Insn | string =>
  decode(bytes, at, Math.min(15, end - at), 0, 2, 'x86-64-v1');

const numbers = new Map<Form, number>();
/** The handler that an instruction needs; null: none. */
function kindOf(insn: Insn): string | null {
  const program = insn.form.system ? null : programOf(insn.form);
  if (program === null) return null;
  if (!numbers.has(insn.form)) numbers.set(insn.form, numbers.size);
  return `${numbers.get(insn.form)}.${dependsOnAddressing(program) ? addressingOf(insn) : 0}`;
}

/** File ranges of the executable sections (ELF-64). */
function codeOf(file: Buffer): Array<readonly [number, number]> {
  const sections = Number(file.readBigUInt64LE(40));
  const ranges: Array<readonly [number, number]> = [];
  for (let i = 0; i < file.readUInt16LE(60); i++) {
    const header = sections + i * 64;
    const start = Number(file.readBigUInt64LE(header + 24));
    const executable = (file.readBigUInt64LE(header + 8) & 4n) !== 0n;
    if (executable) ranges.push([start, start + Number(file.readBigUInt64LE(header + 32))]);
  }
  return ranges;
}

/** The same kind with zeros for as many of its last bytes as that is possible. */
function plain(bytes: Uint8Array, kind: string): Uint8Array {
  const result = bytes.slice();
  for (let i = bytes.length - 1; i > 0; i--) {
    const held = result[i]!;
    result[i] = 0;
    const insn = decode64(result, 0, result.length);
    if (typeof insn === 'string' || insn.length !== bytes.length || kindOf(insn) !== kind) result[i] = held;
  }
  return result;
}

const kinds = new Map<string, Uint8Array>();
for (const path of process.argv.slice(2)) {
  const file = readFileSync(path);
  const counts = new Map<string, number>();
  for (const [start, end] of codeOf(file))
    for (let at = start; at < end; ) {
      const insn = decode64(file, at, end);
      const kind = typeof insn === 'string' ? null : kindOf(insn);
      const length = typeof insn === 'string' ? 1 : insn.length;
      if (kind !== null) {
        const count = (counts.get(kind) ?? 0) + 1;
        counts.set(kind, count);
        if (count === OFTEN && !kinds.has(kind)) kinds.set(kind, plain(file.subarray(at, at + length), kind));
      }
      at += length;
    }
}
const code = [...kinds.values()].map((bytes) => Buffer.from(bytes).toString('hex')).sort();
const lines = code.join('').match(/.{1,100}/g)!;
writeFileSync(
  TARGET,
  `/** Written by tools/common-handlers.ts: ${kinds.size} instructions of 64-bit mode, in hexadecimal, one of every kind that is common. */\nexport const COMMON =\n${lines.map((line) => `  '${line}'`).join(' +\n')};\n`,
);
