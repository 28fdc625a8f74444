/** Places in words, and from words. */
import { EmulatorError } from '../../core/errors.ts';
import { hex, type PhysAddr, type VirtAddr } from '../../core/units.ts';
import { GPR, SEG, STATE } from '../../x86/state.ts';
import type { Symbolizer } from '../disassembly.ts';
import { LOW_NAMES, type SessionMoment } from '../session-moment.ts';
import { symbolText } from '../symbol-text.ts';
import type { Bytes } from './past.ts';

const GPR_NAMES = Object.keys(GPR);
const SEGMENT_NAMES = Object.keys(SEG);

/** `rax`, `al` as `rax[0]`, `rbx[4..7]`, `xmm3`, `flags`, `u64[devices+0x10]`, `u8[ma 0x1234]`. */
export function placeName(bytes: Bytes, address: VirtAddr | null, symbols: Symbolizer): string {
  if (bytes.space === 'state') return registerName(bytes.offset, bytes.bytes);
  const at = address === null ? `ma ${hex(BigInt(bytes.address))}` : (symbolText(symbols, address) ?? hex(address));
  return [1, 2, 4, 8].includes(bytes.bytes) ? `u${bytes.bytes * 8}[${at}]` : `${bytes.bytes} bytes at ${at}`;
}

function registerName(offset: number, bytes: number): string {
  for (const [name, { offset: start, width, count }] of Object.entries(STATE)) {
    if (offset < start || offset >= start + width * count) continue;
    const index = Math.floor((offset - start) / width);
    const inside = (offset - start) % width;
    const whole = slotName(name, index, count);
    if (inside === 0 && bytes >= width) return whole;
    const last = inside + bytes - 1;
    return inside === last ? `${whole}[${inside}]` : `${whole}[${inside}..${last}]`;
  }
  return `state+${offset}`;
}
function slotName(name: string, index: number, count: number): string {
  if (name === 'gpr') return GPR_NAMES[index]!;
  if (name.startsWith('flags') || name === 'rflags') return 'flags';
  if (name === 'segmentBase') return `${SEGMENT_NAMES[index]}_base`;
  return count === 1 ? name : `${name}${index}`;
}

/** Bytes of a place at most. */
const MAX_BYTES = 64;
const PLACE = /^(?<start>[^:+]+)(?:\+(?<offset>0x[0-9a-f]+|\d+))?(?::(?<bytes>\d+))?$/i;

/** Where a register's bytes lie in the vCPU's state; null where there is none of that name, or nothing is followed into it. */
export function registerBytes(name: string): { readonly offset: number; readonly bytes: number } | null {
  const { gpr, xmm, segmentBase } = STATE;
  if (name in GPR) return { offset: gpr.offset + GPR[name as keyof typeof GPR] * 8, bytes: 8 };
  const low = LOW_NAMES[name];
  if (low !== undefined) return { offset: gpr.offset + low[0] * 8 + low[1] / 8, bytes: low[2] / 8 };
  const vector = /^xmm(\d|1[0-5])$/.exec(name);
  if (vector) return { offset: xmm.offset + Number(vector[1]) * 16, bytes: 16 };
  if (['flags', 'rflags', 'eflags'].includes(name)) return { offset: STATE.flagsResult.offset, bytes: 12 };
  const segment = /^([fg]s)_base$/.exec(name);
  if (segment) return { offset: segmentBase.offset + SEG[segment[1] as 'fs'] * 8, bytes: 8 };
  return null;
}

/** A place that somebody names: a register, or `ADDRESS[:BYTES]`, where the address is a number, a symbol or `symbol+0x10`. E_USAGE for others. */
export function parsePlace(
  text: string,
  vcpu: number,
  moment: SessionMoment,
): { readonly bytes: Bytes; readonly address: VirtAddr | null } {
  const register = registerBytes(text.toLowerCase());
  if (register !== null) return { bytes: { space: 'state', vcpu, ...register }, address: null };
  const wrong = (why: string): never => {
    throw new EmulatorError('E_USAGE', `${text}: ${why}`);
  };
  if (/^[er]?ip$/i.test(text))
    return wrong('what led there is no value: ask for the target of the call or jump before');
  const { start = '', offset = '0', bytes } = PLACE.exec(text)?.groups ?? {};
  if (start === '') return wrong('origin takes a register (rax, al, xmm3) or ADDRESS[:BYTES]');
  const symbol = moment.symbol(start);
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(start) ? BigInt(start) : null;
  if (symbol === null && number === null) return wrong(`there is no register and no symbol ${start}`);
  const address = BigInt.asUintN(64, (number ?? symbol!.address) + BigInt(offset));
  const whole = symbol !== null && offset === '0' && [1n, 2n, 4n].includes(symbol.size) ? Number(symbol.size) : 8;
  const count = bytes === undefined ? whole : Number(bytes);
  if (count < 1 || count > MAX_BYTES) return wrong(`1 to ${MAX_BYTES} bytes can be asked for`);
  if (Number(address & 4095n) + count > 4096) return wrong('the bytes lie in two pages: ask for each part');
  const machine = moment.translate(address);
  if (machine === null) return wrong(`${hex(address)} is not mapped at this tick`);
  return { bytes: { space: 'memory', address: Number(machine) as PhysAddr, bytes: count }, address };
}
