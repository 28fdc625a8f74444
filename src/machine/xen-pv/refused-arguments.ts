/** Which argument of a hypercall decided its answer, where nothing in page tables did. */
import { hex } from '../../core/units.ts';
import { HYPERCALLS } from '../../xen/hypercalls/table.ts';
import type { Blame, Look, NamedEvent } from '../explanation.ts';

const FRAME_BYTES = 8n;
/** Words that operations of event_channel_op read, by number: bind_virq, close, send, bind_ipi, bind_vcpu, unmask (public/event_channel.h). */
const EVTCHN_WORDS: Readonly<Record<number, number>> = { 1: 2, 3: 1, 4: 1, 7: 1, 8: 2, 9: 1 };
/** Entries of a descriptor table that a frame holds. */
const GDT_ENTRIES = 512n;
/** Frames of a vCPU's GDT; a call may ask for any number. */
const GDT_FRAMES = 16n;
/** -ENOSYS. */
const NO_SUCH = -38n;
/** Offset of the first argument in struct mmuext_op (public/xen.h). */
const MMUEXT_ARG1 = 8n;
/** struct trap_info: vector, flags, code segment, address (public/xen.h); entries that a list is searched for at most. */
const TRAP_INFO = { bytes: 16n, address: 8n } as const;
const VECTORS = 256n;
/** Words of Xen's about the end of a domain whose event found no stack (entry.S create_bounce_frame); others follow where it found one. */
const NO_STACK = /create_bounce_frame(_bad_sp)?$/;

const inRegister = (name: string, text: string): Blame => ({
  place: { space: 'register', name },
  bytes: 8,
  text,
  guilty: () => true,
});

/** The argument of `call` to blame, by Xen's lines about it; null of calls whose arguments say nothing alone. */
export function blameArguments(look: Look, call: NamedEvent, log: readonly string[]): Blame | null {
  const { arg0 = 0n, arg1 = 0n } = call.fields;
  if (!HYPERCALLS.some((row) => row.name === call.name)) {
    const number = /^hypercall_(\d+)$/.exec(call.name)?.[1];
    return number === undefined ? null : inRegister('rax', `there is no hypercall ${number}`);
  }
  if (call.fields.result === NO_SUCH) return inRegister('rdi', `${call.name} has no operation ${arg0}`);
  switch (call.name) {
    case 'update_va_mapping':
      return inRegister('rsi', `the call asks for the entry ${hex(arg1)} for the page ${hex(arg0)}`);
    case 'set_gdt':
      return listedFrame(look, arg0, (arg1 + GDT_ENTRIES - 1n) / GDT_ENTRIES, log);
    case 'event_channel_op':
      return words(look, arg1, EVTCHN_WORDS[Number(arg0)] ?? 0);
    case 'mmuext_op':
      return inMemory(look, arg0 + MMUEXT_ARG1, (frame) => `the request names the frame ${hex(frame)}`);
    default:
      return null;
  }
}
/** The words of an argument: any of them may be wrong, the first more likely than the others. */
function words(look: Look, address: bigint, count: number): Blame | null {
  if (count === 0) return null;
  const blame = inMemory(look, address, (value) => `the call asks for ${hex(value)}`, 4);
  const or = words(look, address + 4n, count - 1);
  return blame === null || or === null ? blame : { ...blame, or };
}
/** Of a list of frames the one that Xen's lines name, or the first. */
function listedFrame(look: Look, list: bigint, asked: bigint, log: readonly string[]): Blame | null {
  const named = log.map((line) => /for mfn ([0-9a-f]+)|Error mfn ([0-9a-f]+)/.exec(line)).find((x) => x !== null);
  const wanted = named == null ? null : BigInt(`0x${named[1] ?? named[2]}`);
  const count = asked < GDT_FRAMES ? asked : GDT_FRAMES;
  let slot = list;
  for (let i = 0n; i < count; i++)
    if (look.read('va', list + i * FRAME_BYTES, 8) === wanted) slot = list + i * FRAME_BYTES;
  return inMemory(look, slot, (frame) => `frame ${(slot - list) / FRAME_BYTES} of the list is ${hex(frame)}`);
}
function inMemory(look: Look, address: bigint, text: (value: bigint) => string, bytes = 8): Blame | null {
  const value = look.read('va', address, bytes);
  const machine = look.translate(address);
  if (value === null || machine === null) return null;
  return { place: { space: 'ma', address: machine }, bytes, text: text(value), guilty: () => true };
}

/** The stack that a call of stack_switch named for events from user mode, where the domain ended because one found none. */
export function stackOf({ name, fields: { arg1 = 0n } }: NamedEvent, verdict: string): Blame | null {
  if (name !== 'stack_switch' || !NO_STACK.test(verdict)) return null;
  return inRegister('rsi', `the stack for events from user mode is ${hex(arg1)}`);
}

/** The handlers that a call of set_trap_table names. */
export function handlers({
  name,
  fields: { arg0 = 0n },
}: NamedEvent): ((vector: bigint, look: Look) => Blame | null) | null {
  if (name !== 'set_trap_table') return null;
  return (vector, look) => {
    for (let i = 0n; i < VECTORS; i++) {
      const at = arg0 + i * TRAP_INFO.bytes;
      const [number, address] = [look.read('va', at, 1), look.read('va', at + TRAP_INFO.address, 8)];
      if (number === null || address === null || address === 0n) return null;
      if (number !== vector) continue;
      return inMemory(look, at + TRAP_INFO.address, (where) => `the handler of vector ${vector} is at ${hex(where)}`);
    }
    return null;
  };
}
