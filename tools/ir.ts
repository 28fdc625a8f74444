/**
 * Prints the micro-ops of instruction forms.
 *
 *     node tools/run.mjs ir add.4.mem,r        # a form key
 *     node tools/run.mjs ir 48 01 c8           # the form of these bytes in 64-bit mode
 *     node tools/run.mjs ir                    # every form with its number of micro-ops
 */
import { printProgram } from '../src/ir/print.ts';
import { decode } from '../src/x86/decode/decode.ts';
import { enumerateForms } from '../src/x86/decode/enumerate.ts';
import type { CodeMode, Form } from '../src/x86/form.ts';
import { programOf } from '../src/x86/semantics/registry.ts';
import { GPR, type SlotName, STATE } from '../src/x86/state.ts';
import { commandLine, refuse } from './command-line.ts';

const POLICY = 'x86-64-v2';
const REGISTER = Object.fromEntries(Object.entries(GPR).map(([name, number]) => [number, name]));
const WIDTH = { u8: 1, u16: 2, u32: 4, u64: 8, u128: 16 } as const;

function nameOffset(offset: number): string {
  for (const name of Object.keys(STATE) as SlotName[]) {
    const info = STATE[name];
    const width = WIDTH[info.type];
    const index = Math.floor((offset - info.offset) / width);
    if (offset < info.offset || index >= info.count) continue;
    const byte = (offset - info.offset) % width;
    const base = name === 'gpr' ? REGISTER[index]! : info.count > 1 ? `${name}[${index}]` : name;
    return byte === 0 ? base : `${base}+${byte}`;
  }
  return `+${offset}`;
}

function allForms(): Map<string, Form> {
  const forms = new Map<string, Form>();
  for (const mode of [0, 1, 2] satisfies CodeMode[])
    for (const form of enumerateForms(mode, POLICY).keys()) forms.set(form.key, form);
  return forms;
}

function show(form: Form): void {
  const program = programOf(form);
  console.log(form.key);
  console.log(program ? printProgram(program, nameOffset) : '  no semantics');
}

const args = commandLine({ allowPositionals: true }).positionals;
if (args.length === 0) {
  for (const form of allForms().values()) {
    const program = programOf(form);
    const text = program ? `${program.body.length} + ${program.commits.length}` : form.system ? 'system' : 'none';
    console.log(`${form.key.padEnd(40)} ${text}`);
  }
} else if (args.every((x) => /^[0-9a-f]{2}$/i.test(x))) {
  const bytes = Uint8Array.from(args, (x) => Number.parseInt(x, 16));
  const insn = decode(bytes, 0, bytes.length, 0, 2, POLICY);
  if (typeof insn === 'string') refuse(`not an instruction: ${insn}`);
  show(insn.form);
} else {
  const forms = allForms();
  for (const key of args) {
    const form = forms.get(key);
    show(form ?? refuse(`no form ${key}`));
  }
}
