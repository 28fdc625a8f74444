/**
 * Readers of hypercall logs: the text that an instrumented Xen printed, and our own log of JSON lines. Both give the
 * same list of calls in the order in which they returned.
 */

/** One hypercall. Kind H: by itself; I: iret; M: an entry of a multicall, listed before the multicall's own H. */
export interface Call {
  kind: 'H' | 'I' | 'M';
  vcpu: number;
  rip: bigint;
  op: number;
  args: bigint[];
  /** What the guest gets, sign-extended: errors are negative. */
  ret: bigint;
  /** Line number in the log, from 1. */
  line: number;
}

const TRACE_LINE = /^([HIMP]) v(\d+) rip=([0-9a-f]+) op=(\d+)((?: [0-9a-f]+)*) = ([0-9a-f]+)$/;
const IRET = 23;
const MULTICALL = 13;
const MAX_ERRNO = 4095n;

/** A return value as a signed number; a 32-bit guest's errors (0xfffff001 and up) become negative too. */
function signedReturn(value: bigint): bigint {
  for (const bits of [32, 64]) {
    const signed = BigInt.asIntN(bits, value);
    if (value < 1n << BigInt(bits) && signed < 0n && signed >= -MAX_ERRNO) return signed;
  }
  return BigInt.asIntN(64, value);
}

/** A line of either log. Kind P: a part of a call that goes on with the next one. */
interface Entry extends Omit<Call, 'kind' | 'ret'> {
  kind: Call['kind'] | 'P';
  /** As it is in RAX. */
  ret: bigint;
}

/**
 * Makes one call of the parts of a preempted one: arguments of the first, result of the last. An entry of a multicall that was
 * preempted "returns" its own number, Xen's continuation in the making.
 */
function joined(entries: readonly Entry[]): Call[] {
  const calls: Call[] = [];
  /** Arguments of preempted calls that have not returned yet, by kind and number of the call. */
  const preempted = new Map<string, bigint[]>();
  for (const entry of entries) {
    const kind = entry.kind === 'P' ? 'H' : entry.kind;
    const key = `${kind} ${entry.vcpu} ${entry.op}`;
    if (entry.kind === 'P' || (kind === 'M' && entry.ret === BigInt(entry.op))) {
      if (!preempted.has(key)) preempted.set(key, entry.args);
      continue;
    }
    calls.push({ ...entry, kind, args: preempted.get(key) ?? entry.args, ret: signedReturn(entry.ret) });
    preempted.delete(key);
  }
  return calls;
}

/** The calls of a trace in Xen's text format. Throws on a line of another shape, with its number. */
export function parseTrace(text: string): Call[] {
  const entries: Entry[] = [];
  text.split('\n').forEach((content, index) => {
    if (content === '') return;
    const match = TRACE_LINE.exec(content);
    if (match === null) throw new Error(`line ${index + 1}: not a trace line: ${content.slice(0, 80)}`);
    const [, letter, vcpu, rip, number, words, result] = match;
    const args = words!
      .trim()
      .split(' ')
      .filter(Boolean)
      .map((word) => BigInt(`0x${word}`));
    entries.push({
      kind: letter as Entry['kind'],
      vcpu: Number(vcpu),
      rip: BigInt(`0x${rip}`),
      op: Number(number),
      args,
      ret: BigInt(`0x${result}`),
      line: index + 1,
    });
  });
  return joined(entries);
}

/**
 * The calls of our own log: per line `{"kind"?, "vcpu", "rip", "op", "args", "ret"}`, 64-bit values as hexadecimal
 * strings with or without 0x, `op` and `vcpu` also as numbers. Throws on anything else, with the line's number.
 */
export function parseLog(text: string): Call[] {
  const entries: Entry[] = [];
  text.split('\n').forEach((content, index) => {
    if (content.trim() === '') return;
    try {
      entries.push(entryOf(JSON.parse(content), index + 1));
    } catch (error) {
      throw new Error(`line ${index + 1}: ${(error as Error).message}`);
    }
  });
  return joined(entries);
}

function entryOf(record: Record<string, unknown>, line: number): Entry {
  const op = Number(integerOf(record.op, 'op'));
  const kind = record.kind ?? (op === IRET ? 'I' : 'H');
  if (kind !== 'H' && kind !== 'I' && kind !== 'M' && kind !== 'P')
    throw new Error(`kind is ${JSON.stringify(kind)}, not H, I, M or P`);
  if (kind === 'M' && op === MULTICALL) throw new Error('a multicall inside a multicall');
  if (!Array.isArray(record.args)) throw new Error('args is not a list');
  return {
    kind,
    vcpu: Number(integerOf(record.vcpu ?? 0, 'vcpu')),
    rip: integerOf(record.rip, 'rip'),
    op,
    args: record.args.map((value) => integerOf(value, 'args')),
    ret: integerOf(record.ret, 'ret'),
    line,
  };
}

function integerOf(value: unknown, field: string): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt.asUintN(64, BigInt(value));
  if (typeof value === 'string' && /^(0x)?[0-9a-f]{1,16}$/i.test(value))
    return BigInt(`0x${value.replace(/^0x/i, '')}`);
  throw new Error(`${field} is ${JSON.stringify(value)}, not a 64-bit value`);
}
