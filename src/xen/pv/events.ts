/**
 * Event channels: the 2-level ABI (xen/common/event_channel.c, event_2l.c).
 *
 * Invariants: ports are handed out lowest free first, from 1; the pending and mask bits live in shared_info only; an
 * edge on a masked port is kept as its pending bit and nothing else (D-36). FIFO set-up answers -ENOSYS, which makes every
 * guest stay with this ABI.
 */
import { type Infer, list, struct, u8, u32 } from '../../core/schema.ts';
import { unitsOf } from '../../core/work.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { ERRNO } from '../abi/errno.ts';
import { DOMID, VIRQ } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import type { WorkMeter } from '../work.ts';

/** Channel states (the values of EVTCHNSTAT_*, public/event_channel.h). */
export const CHANNEL = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;
const VIRQS = 24;
/** virq_is_global is false for these: each vCPU has its own. */
const PER_VCPU_VIRQS: ReadonlySet<number> = new Set([VIRQ.TIMER, VIRQ.DEBUG, VIRQ.XENOPROF, VIRQ.XENPMU]);
/** xl's max_event_channels: the last port a domain may have. */
const MAX_PORT = 1023;
/** Ports come into being so many at a time; one that exists and is free is closed (EVTCHNS_PER_BUCKET). */
const BUCKET_PORTS = 64;

const channel = struct({
  state: u8,
  vcpu: u32,
  /** Remote domain and port, or the virtual interrupt in `remotePort`. */
  remoteDomain: u32,
  remotePort: u32,
});
export const eventState = struct({
  /** By port; index 0 is reserved and always closed. */
  channels: list(channel),
});
export type EventState = Infer<typeof eventState>;
export type Channel = Infer<typeof channel>;

const SHARED = AMD64.sharedInfo.at;
const INFO = AMD64.vcpuInfo.at;
/** Words of the bitmaps are 64 bits: bit n of `evtchn_pending_sel` stands for the ports n*64 to n*64+63. */
const SELECTOR_SHIFT = 6;

/** What events need of the rest of the domain. */
export interface EventHost {
  readonly memory: GuestMemory;
  readonly sharedInfo: number;
  readonly domainId: number;
  readonly work: WorkMeter;
  readonly vcpus: ReadonlyArray<{ readonly infoAddress: number }>;
  /** A vCPU has something pending. */
  wake(vcpu: number): void;
  /** A port has become pending: wakes who polls for it. */
  wakePollers(port: number): void;
  /** The guest notified the far end of an interdomain channel. */
  notifyBackend(port: number): void;
}

const CLOSED: Channel = { state: CHANNEL.closed, vcpu: 0, remoteDomain: 0, remotePort: 0 };
const bucket = (): Channel[] => Array.from({ length: BUCKET_PORTS }, () => ({ ...CLOSED }));

export class Events {
  state: EventState = { channels: bucket() };
  readonly #host: EventHost;
  constructor(host: EventHost) {
    this.#host = host;
  }

  /** The channel of a port that exists; port 0 does and is always closed. */
  channel(port: number): Channel | undefined {
    return this.state.channels[port];
  }

  #allocate(entry: Channel): number {
    const { channels } = this.state;
    let port = 1;
    while (port < channels.length && channels[port]!.state !== CHANNEL.closed) port++;
    this.#host.work.charge(unitsOf(port));
    if (port > MAX_PORT) return -ERRNO.ENOSPC;
    if (port === channels.length) channels.push(...bucket());
    channels[port] = entry;
    return port;
  }
  /** 0 when `dom` is this domain, else the error of naming another: domain 0 exists and is not ours to act on. */
  #self(dom: number): number {
    if (dom === DOMID.SELF || dom === this.#host.domainId) return 0;
    return dom === 0 ? -ERRNO.EPERM : -ERRNO.ESRCH;
  }

  #bit(base: number, port: number): { address: number; bit: number } {
    return { address: this.#host.sharedInfo + base + (port >> 3), bit: 1 << (port & 7) };
  }
  #test(base: number, port: number): boolean {
    const { address, bit } = this.#bit(base, port);
    return (this.#host.memory.read8(address) & bit) !== 0;
  }
  #assign(base: number, port: number, on: boolean): void {
    const { address, bit } = this.#bit(base, port);
    const old = this.#host.memory.read8(address);
    const next = on ? old | bit : old & ~bit;
    if (next !== old) this.#host.memory.write8(address, next);
  }
  isPending(port: number): boolean {
    return this.#test(SHARED.evtchn_pending, port);
  }
  isMasked(port: number): boolean {
    return this.#test(SHARED.evtchn_mask, port);
  }

  // ---- operations; each returns 0, a port or a negative errno -------------------------------------------------------

  allocUnbound(dom: number, remote: number): number {
    const remoteDomain = remote === DOMID.SELF ? this.#host.domainId : remote;
    return this.#self(dom) || this.#allocate({ ...CLOSED, state: CHANNEL.unbound, remoteDomain });
  }
  /** Connects an unbound channel to a backend of ours. */
  connectBackend(port: number): void {
    const entry = this.channel(port);
    if (entry?.state === CHANNEL.unbound)
      this.state.channels[port] = { ...entry, state: CHANNEL.interdomain, remotePort: port };
  }
  bindInterdomain(remote: number, remotePort: number): number {
    const { domainId } = this.#host;
    // domain 0 is there and offers no port
    const rc = this.#self(remote);
    if (rc !== 0) return rc === -ERRNO.EPERM ? -ERRNO.EINVAL : rc;
    const far = this.channel(remotePort);
    if (far?.state !== CHANNEL.unbound || far.remoteDomain !== domainId) return -ERRNO.EINVAL;
    const port = this.#allocate({ ...CLOSED, state: CHANNEL.interdomain, remoteDomain: domainId, remotePort });
    if (port < 0) return port;
    this.state.channels[remotePort] = { ...far, state: CHANNEL.interdomain, remotePort: port };
    this.setPending(port);
    return port;
  }
  bindVirq(virq: number, vcpu: number): number {
    if (virq >= VIRQS) return -ERRNO.EINVAL;
    if (!PER_VCPU_VIRQS.has(virq) && vcpu !== 0) return -ERRNO.EINVAL;
    if (vcpu >= this.#host.vcpus.length) return -ERRNO.ENOENT;
    this.#host.work.charge(unitsOf(this.state.channels.length));
    if (this.virqPort(virq, vcpu) !== 0) return -ERRNO.EEXIST;
    return this.#allocate({ ...CLOSED, state: CHANNEL.virq, vcpu, remotePort: virq });
  }
  bindIpi(vcpu: number): number {
    if (vcpu >= this.#host.vcpus.length) return -ERRNO.ENOENT;
    return this.#allocate({ ...CLOSED, state: CHANNEL.ipi, vcpu });
  }
  bindVcpu(port: number, vcpu: number): number {
    if (vcpu >= this.#host.vcpus.length) return -ERRNO.ENOENT;
    const entry = this.channel(port);
    if (!entry) return -ERRNO.EINVAL;
    const movable =
      entry.state === CHANNEL.unbound ||
      entry.state === CHANNEL.interdomain ||
      (entry.state === CHANNEL.virq && !PER_VCPU_VIRQS.has(entry.remotePort));
    if (!movable) return -ERRNO.EINVAL;
    this.state.channels[port] = { ...entry, vcpu };
    return 0;
  }
  close(port: number): number {
    const entry = this.channel(port);
    if (!entry || entry.state === CHANNEL.closed) return -ERRNO.EINVAL;
    if (entry.state === CHANNEL.interdomain && entry.remoteDomain === this.#host.domainId) {
      const far = this.channel(entry.remotePort);
      if (far && entry.remotePort !== port)
        this.state.channels[entry.remotePort] = { ...far, state: CHANNEL.unbound, remotePort: 0 };
    }
    this.state.channels[port] = { ...CLOSED };
    this.#assign(SHARED.evtchn_pending, port, false);
    return 0;
  }
  /** Closes every channel of the domain. */
  reset(dom: number): number {
    const rc = this.#self(dom);
    if (rc !== 0) return rc;
    this.#host.work.charge(this.state.channels.length);
    for (let port = 1; port < this.state.channels.length; port++) this.close(port);
    return 0;
  }
  send(port: number): number {
    const entry = this.channel(port);
    if (!entry) return -ERRNO.EINVAL;
    if (entry.state === CHANNEL.interdomain) {
      if (entry.remoteDomain === this.#host.domainId) this.setPending(entry.remotePort);
      else this.#host.notifyBackend(port);
      return 0;
    }
    if (entry.state === CHANNEL.ipi) {
      this.setPending(port);
      return 0;
    }
    return entry.state === CHANNEL.unbound ? 0 : -ERRNO.EINVAL;
  }
  unmask(port: number): number {
    const entry = this.channel(port);
    if (!entry) return -ERRNO.EINVAL;
    const wasMasked = this.isMasked(port);
    this.#assign(SHARED.evtchn_mask, port, false);
    if (wasMasked && this.isPending(port)) this.#raise(port, entry.vcpu);
    return 0;
  }

  /** The port that carries `virq` to `vcpu`, or 0. */
  virqPort(virq: number, vcpu: number): number {
    const at = this.state.channels.findIndex(
      (c) => c.state === CHANNEL.virq && c.remotePort === virq && (c.vcpu === vcpu || !PER_VCPU_VIRQS.has(virq)),
    );
    return Math.max(at, 0);
  }
  /** Raises a virtual interrupt; nothing happens where the guest has not bound it. */
  raiseVirq(virq: number, vcpu: number): void {
    const port = this.virqPort(virq, vcpu);
    if (port > 0) this.setPending(port);
  }

  setPending(port: number): void {
    const entry = this.channel(port);
    if (!entry || entry.state === CHANNEL.closed || this.isPending(port)) return;
    this.#assign(SHARED.evtchn_pending, port, true);
    if (!this.isMasked(port)) this.#raise(port, entry.vcpu);
    this.#host.wakePollers(port);
  }
  #raise(port: number, vcpu: number): void {
    const { memory } = this.#host;
    const info = this.#host.vcpus[vcpu]!.infoAddress;
    const word = port >> SELECTOR_SHIFT;
    const sel = info + INFO.evtchn_pending_sel + (word >> 3);
    const bit = 1 << (word & 7);
    const old = memory.read8(sel);
    if (old & bit) return;
    memory.write8(sel, old | bit);
    this.markPending(vcpu);
  }
  /** vcpu_mark_events_pending: flags an upcall and wakes the vCPU, unless one is flagged already. */
  markPending(vcpu: number): void {
    const at = this.#host.vcpus[vcpu]!.infoAddress + INFO.evtchn_upcall_pending;
    if (this.#host.memory.read8(at) !== 0) return;
    this.#host.memory.write8(at, 1);
    this.#host.wake(vcpu);
  }
}
