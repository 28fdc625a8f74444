/**
 * Turns what the hypervisor lets a watcher see into events with names: hypercalls and their parts, traps, upcalls, log lines.
 */
import type { Session } from '../timeline/session.ts';
import { MMU_UPDATE_PREEMPTED, MMUEXT } from '../xen/abi/numbers.ts';
import { HYPERCALLS, hypercallName } from '../xen/hypercalls/table.ts';
import type { HypercallEvent } from '../xen/pv/pv.ts';
import type { RunEvent } from './investigate.ts';
import type { SessionMoment } from './session-moment.ts';

const TRAPS = [
  'divide_error',
  'debug',
  'nmi',
  'breakpoint',
  'overflow',
  'bound_range',
  'invalid_opcode',
  'device_not_available',
  'double_fault',
  'coprocessor_overrun',
  'invalid_tss',
  'segment_not_present',
  'stack_fault',
  'general_protection',
  'page_fault',
  'spurious',
  'x87_error',
  'alignment_check',
  'machine_check',
  'simd_error',
];
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
const MMUEXT_BYTES = 24n;
/** How many requests an mmuext_op has, whether it begins or goes on. */
const requests = (args: readonly bigint[]): number => Number(args[1]! & (BigInt(MMU_UPDATE_PREEMPTED) - 1n));
/** Kinds of events that have no names below them. */
const PLAIN = ['upcall', 'log', 'input', 'timer', 'idle'];
/** Kinds of events that have. */
const NAMED = ['hypercall', 'trap'];
const ARGUMENTS = ['arg0', 'arg1', 'arg2', 'arg3', 'arg4', 'arg5', 'result'];

/** Fields that events of a name can have, empty where they have none; null when no event is called so. */
export function eventFields(name: string): readonly string[] | null {
  if (HYPERCALLS.some((row) => row.name === name) || /^hypercall_\d+$/.test(name)) return ARGUMENTS;
  if (Object.values(PARTS).includes(name)) return ['cmd', 'mfn', 'result'];
  if (TRAPS.includes(name) || /^vector_\d+$/.test(name)) return ['vector', 'error', 'address'];
  return PLAIN.includes(name) ? [] : null;
}
/** Kinds of events, for `--only` beside their names. */
export const EVENT_KINDS: readonly string[] = [...NAMED, ...PLAIN];

const signed = (value: number | bigint): bigint => BigInt.asIntN(64, BigInt(value));

/** Calls `visit` for every event while the session runs; returns what undoes that. */
export function tapEvents(session: Session, moment: SessionMoment, visit: (event: RunEvent) => void): () => void {
  const { xen, machine } = session.run;
  const tell = (event: Omit<RunEvent, 'tick' | 'text'> & { text?: string }): void =>
    visit({ text: null, ...event, tick: machine.visibleAt - 1 });
  const hypercall = (event: HypercallEvent): void => {
    const { vcpu, args, left } = event;
    const rip = BigInt.asUintN(64, event.rip - 2n);
    const fields: Record<string, bigint> = {};
    args.forEach((a, i) => {
      fields[`arg${i}`] = a;
    });
    // What goes on as another step has no result yet.
    if (event.ret !== null && left === null) fields.result = signed(event.ret);
    if (event.op === 26) {
      // A refused call says how many parts were done only through its pointer: the parts of a call of one are certain.
      const count = requests(args) - (left === null ? 0 : requests(left));
      for (let i = 0; i < Math.min(count, 64); i++) {
        const at = args[0]! + BigInt(i) * MMUEXT_BYTES;
        const cmd = moment.read('va', at, 4);
        const mfn = moment.read('va', at + 8n, 8);
        const name = cmd === null ? undefined : PARTS[Number(cmd)];
        if (name === undefined || mfn === null) continue;
        const result: Record<string, bigint> =
          count === 1 && fields.result !== undefined ? { result: fields.result } : {};
        tell({ vcpu, rip, kind: 'hypercall', name, fields: { cmd: cmd!, mfn, ...result } });
      }
    }
    tell({ vcpu, rip, kind: 'hypercall', name: hypercallName(event.op), fields });
  };
  const undo = [
    xen.stream.on('hypercall', hypercall),
    xen.stream.on('trap', ({ vcpu, rip, vector, error, address }) => {
      const fields = { vector: BigInt(vector), error: BigInt(error), address };
      tell({ vcpu, rip, kind: 'trap', name: TRAPS[vector] ?? `vector_${vector}`, fields });
    }),
    xen.stream.on('upcall', ({ vcpu, rip }) => tell({ vcpu, rip, kind: 'upcall', name: 'upcall', fields: {} })),
    xen.stream.on('log', ({ line }) =>
      tell({ vcpu: machine.cpu.id, rip: machine.cpu.rip, kind: 'log', name: 'log', fields: {}, text: line }),
    ),
  ];
  return () => {
    for (const end of undo) end();
  };
}
