/** Every form that an encoding of one mode reaches, found by decoding one encoding of each kind. */
import type { CodeMode, CpuPolicy, Form } from '../form.ts';
import { decode } from './decode.ts';

const PREFIXES: ReadonlyArray<readonly number[]> = [[], [0x66], [0xf3], [0xf2], [0x66, 0xf3], [0x66, 0xf2]];
const NOT_OPCODES = new Set([0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/** The forms of a mode and policy, each with the bytes of one encoding that reaches it. */
export function enumerateForms(mode: CodeMode, policy: CpuPolicy): Map<Form, Uint8Array> {
  const found = new Map<Form, Uint8Array>();
  const bytes = new Uint8Array(16);
  const attempt = (head: readonly number[], modrm: number): void => {
    bytes.fill(0);
    bytes.set(head);
    bytes[head.length] = modrm;
    const insn = decode(bytes, 0, 15, 0, mode, policy);
    if (typeof insn === 'string') return;
    if (!found.has(insn.form)) found.set(insn.form, bytes.slice(0, insn.length));
  };
  for (const prefix of PREFIXES) {
    for (const address of [[], [0x67]]) {
      for (const rex of mode === 2 ? [[], [0x41], [0x48]] : [[]]) {
        for (let opcode = 0; opcode < 512; opcode++) {
          if (NOT_OPCODES.has(opcode) || (mode === 2 && opcode >> 4 === 4)) continue;
          const head = [...prefix, ...address, ...rex, ...(opcode > 255 ? [0x0f] : []), opcode & 255];
          // mod 0 with rm 0 is memory without SIB or displacement; mod 3 covers every register
          for (let reg = 0; reg < 8; reg++) attempt(head, reg << 3);
          for (let modrm = 0xc0; modrm < 0x100; modrm++) attempt(head, modrm);
        }
      }
    }
  }
  return found;
}
