/** What carries over in one instruction: expected by what the manual says each does (SDM vol. 2). */
import { describe, expect, test } from 'vitest';
import { decode } from '../../src/x86/decode/decode.ts';
import { type Effect, Flow, type Span } from '../../src/x86/flow.ts';
import { FLAG, GPR, STATE } from '../../src/x86/state.ts';
import { DATA, Machine, type RegisterName } from './semantics/machine.ts';

const NAMES = Object.keys(GPR);
const { xmm } = STATE;

/** `rax`, `rax[0..3]`, `xmm2`, `flags`, `m[10008..10f]`. */
function name({ space, at, bytes }: Span): string {
  const end = bytes === 1 ? '' : `..${(at + BigInt(bytes) - 1n).toString(16).slice(-3)}`;
  if (space === 'memory') return `m[${at.toString(16)}${end}]`;
  const offset = Number(at);
  if (offset >= xmm.offset && offset < xmm.offset + 256) return `xmm${(offset - xmm.offset) / 16}`;
  if (offset >= 128) return 'flags';
  const register = NAMES[offset >> 3]!;
  const inside = offset & 7;
  return bytes === 8 ? register : `${register}[${inside}${bytes === 1 ? '' : `..${inside + bytes - 1}`}]`;
}

function flowOf(
  hex: string,
  registers: Partial<Record<RegisterName, bigint>> = {},
  flags = 0,
  words: Record<string, bigint> = {},
): Flow {
  const machine = new Machine({ rax: 0x1122334455667788n, rbx: 0x0102030405060708n, rcx: 3n, ...registers }, flags);
  for (const [at, value] of Object.entries(words)) machine.memory.poke(BigInt(at), 8, value);
  const bytes = Uint8Array.from(hex.match(/[0-9a-f]{2}/gi)!, (x) => Number.parseInt(x, 16));
  const insn = decode(bytes, 0, bytes.length, Number(machine.cpu.rip & 0xfffn), 2, 'x86-64-v2');
  if (typeof insn === 'string') throw new Error(insn);
  machine.cpu.set('codeMode', 2);
  machine.cpu.set('cr4', 0x200n);
  return Flow.of(machine.cpu, insn, machine.memory)!;
}
/** The effect on a register, or on memory. */
function effect(flow: Flow, on: RegisterName | 'memory'): Effect {
  const found = flow.effects.find((e) =>
    on === 'memory' ? e.space === 'memory' : e.space === 'state' && Number(e.at) >> 3 === GPR[on],
  );
  if (found === undefined) throw new Error(`nothing is written to ${on}`);
  return found;
}
const inputs = (flow: Flow, on: RegisterName | 'memory', mask = 0xff): string[] =>
  flow.inputs(effect(flow, on), mask).map(name);

describe('values are followed', () => {
  test.each<[string, string, RegisterName | 'memory', string[]]>([
    ['mov rax, rbx', '48 89 d8', 'rax', ['rbx']],
    ['mov eax, ebx clears the upper half', '89 d8', 'rax', ['rbx[0..3]']],
    ['mov eax, 5', 'b8 05 00 00 00', 'rax', []],
    ['xor eax, eax', '31 c0', 'rax', []],
    ['sub rax, rax', '48 29 c0', 'rax', []],
    ['or eax, -1', '83 c8 ff', 'rax', []],
    ['and eax, 0', '83 e0 00', 'rax', []],
    ['add rax, rbx', '48 01 d8', 'rax', ['rax', 'rbx']],
    ['lea rax, [rbx+rcx*4+8] is arithmetic', '48 8d 44 8b 08', 'rax', ['rbx', 'rcx']],
    ['movzx eax, bl', '0f b6 c3', 'rax', ['rbx[0]']],
    ['bswap rax', '48 0f c8', 'rax', ['rax']],
    ['push rbx', '53', 'memory', ['rbx']],
    ['call: a return address', 'e8 00 00 00 00', 'memory', []],
    ['imul rax, rbx', '48 0f af c3', 'rax', ['rax', 'rbx']],
  ])('%s', (_, hex, on, expected) => {
    expect(inputs(flowOf(hex), on).toSorted()).toEqual(expected.toSorted());
  });

  test('a load carries the bytes loaded, not the address', () => {
    const flow = flowOf('48 8b 43 08', { rbx: DATA });
    expect(inputs(flow, 'rax')).toEqual(['m[10008..00f]']);
    expect(flow.addressInputs(null).map(name)).toEqual(['rbx']);
  });
  test('a store carries the register, its address is asked for apart', () => {
    const flow = flowOf('48 89 04 cb', { rbx: DATA });
    expect(inputs(flow, 'memory')).toEqual(['rax']);
    expect(flow.addressInputs(effect(flow, 'memory')).map(name).toSorted()).toEqual(['rbx', 'rcx']);
  });
  test('a pop carries the word of the stack to the register', () => {
    expect(inputs(flowOf('58'), 'rax')).toEqual(['m[10800..807]']);
  });
  test('a conditional move carries the value chosen, not the condition', () => {
    expect(inputs(flowOf('48 0f 44 c3', {}, FLAG.zf), 'rax')).toEqual(['rbx']);
    expect(inputs(flowOf('48 0f 44 c3', {}, 0), 'rax')).toEqual(['rax']);
  });
  test('a flag made into a number carries the flags', () => {
    expect(inputs(flowOf('0f 94 c0', {}, FLAG.zf), 'rax', 1)).toEqual(['flags']);
  });
  test('MOVS and STOS, forwards and backwards', () => {
    const at = { rsi: DATA + 8n, rdi: DATA + 0x108n };
    expect(inputs(flowOf('48 a5', at), 'memory')).toEqual(['m[10008..00f]']);
    expect(inputs(flowOf('48 a5', at, FLAG.df), 'memory')).toEqual(['m[10008..00f]']);
    expect(inputs(flowOf('f3 aa', at), 'memory', 1)).toEqual(['rax[0]']);
  });
  test('moves through SSE registers', () => {
    const flow = flowOf('66 48 0f 6e d0');
    const [written] = flow.effects;
    expect(flow.inputs(written!, 0xff).map(name)).toEqual(['rax']);
    expect(flow.inputs(written!, 0xff00).map(name)).toEqual([]);
  });
});

describe('byte for byte', () => {
  test.each<[string, string, number, string[]]>([
    ['bswap: the lowest byte comes from the highest', '48 0f c8', 1, ['rax[7]']],
    ['shl rax, 8: a byte moves up', '48 c1 e0 08', 2, ['rax[0]']],
    ['shl rax, 8: zeroes come in', '48 c1 e0 08', 1, []],
    ['mov al, bl: that byte alone', '88 d8', 1, ['rbx[0]']],
  ])('%s', (_, hex, mask, expected) => {
    expect(inputs(flowOf(hex), 'rax', mask)).toEqual(expected);
  });
  test('an addition carries upwards only', () => {
    expect(inputs(flowOf('48 01 d8'), 'rax', 1).toSorted()).toEqual(['rax[0]', 'rbx[0]']);
  });
});

test('what ends before it writes has no flow: a REP with count 0, an instruction that faults', () => {
  const machine = new Machine({ rcx: 0n, rdi: DATA });
  const of = (hex: string): Flow | null => {
    const bytes = Uint8Array.from(hex.match(/[0-9a-f]{2}/gi)!, (x) => Number.parseInt(x, 16));
    const insn = decode(bytes, 0, bytes.length, 0, 2, 'x86-64-v2');
    return typeof insn === 'string' ? null : Flow.of(machine.cpu, insn, machine.memory);
  };
  expect(of('f3 aa')).toBeNull();
  expect(of('48 8b 03')).toBeNull();
});
