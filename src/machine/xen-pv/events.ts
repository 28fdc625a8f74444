/** What Xen's stream tells, with names: hypercalls and their parts, exceptions, upcalls, lines of Xen's console. */
import { MMU_UPDATE_PREEMPTED, MMUEXT } from '../../xen/abi/numbers.ts';
import { HYPERCALLS, hypercallName } from '../../xen/hypercalls/table.ts';
import type { HypercallEvent, XenEvent } from '../../xen/pv/pv.ts';
import { type Look, type NamedEvent, trapFields, trapName } from '../explanation.ts';

export const HEARD = ['hypercall', 'trap', 'upcall', 'log'] as const satisfies readonly XenEvent['kind'][];
export const KINDS = [
  { kind: 'hypercall', names: true },
  { kind: 'trap', names: true },
  { kind: 'upcall', names: false },
  { kind: 'log', names: false },
] as const;

/** mmuext_op commands as predicates name them. */
const PARTS: Readonly<Record<number, string>> = {
  [MMUEXT.PIN_L1_TABLE]: 'pin',
  [MMUEXT.PIN_L2_TABLE]: 'pin',
  [MMUEXT.PIN_L3_TABLE]: 'pin',
  [MMUEXT.PIN_L4_TABLE]: 'pin',
  [MMUEXT.UNPIN_TABLE]: 'unpin',
  [MMUEXT.NEW_BASEPTR]: 'new_baseptr',
  [MMUEXT.NEW_USER_BASEPTR]: 'new_user_baseptr',
};
/** struct mmuext_op: command, then its first argument (public/xen.h). */
const MMUEXT_OP = { bytes: 24n, arg1: 8n } as const;
/** Parts of one call that are told at most. */
const PARTS_TOLD = 64;
const SYSCALL_BYTES = 2n;
const ARGUMENTS = ['arg0', 'arg1', 'arg2', 'arg3', 'arg4', 'arg5', 'result'];

/** Fields that events of a name can have; null when no event is called so. */
export function eventFields(name: string): readonly string[] | null {
  if (HYPERCALLS.some((row) => row.name === name) || /^hypercall_\d+$/.test(name)) return ARGUMENTS;
  if (Object.values(PARTS).includes(name)) return ['cmd', 'mfn', 'result'];
  return trapFields(name) ?? (name === 'upcall' || name === 'log' ? [] : null);
}

/** How many requests an mmuext_op has, whether it begins or goes on. */
const requests = (args: readonly bigint[]): number => Number(args[1]! & (BigInt(MMU_UPDATE_PREEMPTED) - 1n));
const signed = (value: number | bigint): bigint => BigInt.asIntN(64, BigInt(value));

export function decode(event: XenEvent, look: Look): NamedEvent[] {
  switch (event.kind) {
    case 'hypercall':
      return hypercall(event, look);
    case 'trap': {
      const { vcpu, rip, vector, error, address } = event;
      const fields = { vector: BigInt(vector), error: BigInt(error), address };
      return [{ vcpu, rip, kind: 'trap', name: trapName(vector), fields, text: null }];
    }
    case 'upcall':
      return [{ vcpu: event.vcpu, rip: event.rip, kind: 'upcall', name: 'upcall', fields: {}, text: null }];
    case 'log':
      return [{ vcpu: look.vcpu, rip: look.rip, kind: 'log', name: 'log', fields: {}, text: event.line }];
    default:
      return [];
  }
}

/** A call's parts, then the call. */
function hypercall(event: HypercallEvent, look: Look): NamedEvent[] {
  const { vcpu, args, left } = event;
  const rip = BigInt.asUintN(64, event.rip - SYSCALL_BYTES);
  const named = (name: string, fields: Record<string, bigint>): NamedEvent => ({
    vcpu,
    rip,
    kind: 'hypercall',
    name,
    fields,
    text: null,
  });
  const fields = Object.fromEntries(args.map((a, i) => [`arg${i}`, a]));
  // What goes on as another step has no result yet.
  if (event.ret !== null && left === null) fields.result = signed(event.ret);
  const name = hypercallName(event.op);
  const parts = name === 'mmuext_op' ? partsOf(event, look, fields.result) : [];
  return [...parts.map((part) => named(part.name, part.fields)), named(name, fields)];
}
function* mmuextParts(args: readonly bigint[], count: number, look: Look): Generator<{ cmd: bigint; mfn: bigint }> {
  for (let i = 0; i < Math.min(count, PARTS_TOLD); i++) {
    const at = args[0]! + BigInt(i) * MMUEXT_OP.bytes;
    const cmd = look.read('va', at, 4);
    const mfn = look.read('va', at + MMUEXT_OP.arg1, 8);
    if (cmd !== null && mfn !== null) yield { cmd, mfn };
  }
}
function partsOf(
  { args, left }: HypercallEvent,
  look: Look,
  result: bigint | undefined,
): Array<{ name: string; fields: Record<string, bigint> }> {
  // A refused call says how many parts were done only through its pointer: the parts of a call of one are certain.
  const count = requests(args) - (left === null ? 0 : requests(left));
  const certain: Record<string, bigint> = count === 1 && result !== undefined ? { result } : {};
  return [...mmuextParts(args, count, look)].flatMap(({ cmd, mfn }) => {
    const name = PARTS[Number(cmd)];
    return name === undefined ? [] : [{ name, fields: { cmd, mfn, ...certain } }];
  });
}
