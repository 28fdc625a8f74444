/** Every form that an encoding of one mode reaches, found by decoding one encoding of each kind. */
import type { CodeMode, CpuPolicy, Form } from '../form.ts';
import { decode } from './decode.ts';

const PREFIXES: ReadonlyArray<readonly number[]> = [[], [0x66], [0xf3], [0xf2], [0x66, 0xf3], [0x66, 0xf2]];
const MAPS: ReadonlyArray<readonly number[]> = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const ESCAPES = new Set([0x38, 0x3a]);
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
        for (let index = 0; index < MAPS.length << 8; index++) {
          const opcode = index & 0xff;
          const map = MAPS[index >> 8]!;
          if (map.length === 0 && (NOT_OPCODES.has(opcode) || (mode === 2 && opcode >> 4 === 4))) continue;
          if (map.length === 1 && ESCAPES.has(opcode)) continue;
          const head = [...prefix, ...address, ...rex, ...map, opcode];
          // mod 0 with rm 0 is memory without SIB or displacement; mod 3 covers every register
          for (let reg = 0; reg < 8; reg++) attempt(head, reg << 3);
          for (let modrm = 0xc0; modrm < 0x100; modrm++) attempt(head, modrm);
        }
      }
    }
  }
  return found;
}
