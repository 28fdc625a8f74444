/** What a vCPU of a PV guest waits for: its upcall state, and the event channels in use, as lines for people. */
import { AMD64 } from '../../xen/abi/structures.ts';
import { CHANNEL } from '../../xen/pv/events.ts';
import type { XenPv } from '../../xen/pv/pv.ts';

/** An event channel as the guest and Xen see it. */
export interface EventPort {
  readonly port: number;
  /** `virq timer`, `ipi`, `interdomain` ... */
  readonly kind: string;
  readonly pending: boolean;
  readonly masked: boolean;
}

/** Names of channel states, by number. */
const CHANNELS = new Map<number, string>(Object.entries(CHANNEL).map(([name, state]) => [state, name]));
const VIRQS: Readonly<Record<number, string>> = { 0: 'timer', 1: 'debug', 2: 'console' };

/** The channels in use, by port. */
export function portsOf({ events }: XenPv): EventPort[] {
  return events.state.channels.flatMap((channel, port) => {
    if (port === 0 || channel.state === CHANNEL.closed) return [];
    const name = CHANNELS.get(channel.state) ?? 'unknown';
    const kind = name === 'virq' ? `virq ${VIRQS[channel.remotePort] ?? channel.remotePort}` : name;
    return [{ port, kind, pending: events.isPending(port), masked: events.isMasked(port) }];
  });
}
/** The vCPU's `evtchn_upcall_pending` and `evtchn_upcall_mask`. */
export function upcallOf({ vcpus, memory }: XenPv, vcpu: number): { pending: boolean; masked: boolean } {
  const { infoAddress } = vcpus[vcpu]!;
  const { at } = AMD64.vcpuInfo;
  return {
    pending: memory.read8(infoAddress + at.evtchn_upcall_pending) !== 0,
    masked: memory.read8(infoAddress + at.evtchn_upcall_mask) !== 0,
  };
}

const yes = (b: boolean): string => (b ? '1' : '0');
export const waitLines = (
  vcpu: number,
  { pending, masked }: { readonly pending: boolean; readonly masked: boolean },
  ports: readonly EventPort[],
): string[] => [
  `vcpu ${vcpu}: evtchn_upcall_pending = ${yes(pending)}, evtchn_upcall_mask = ${yes(masked)}`,
  ...ports.map(
    (p) => `port ${p.port} (${p.kind}): ${p.pending ? 'pending' : 'not pending'}${p.masked ? ', masked' : ''}`,
  ),
];
