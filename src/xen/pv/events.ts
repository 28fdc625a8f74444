/**
 * Event channels: the 2-level ABI (xen/common/event_channel.c, event_2l.c).
 *
 * Invariants: ports are handed out lowest free first, from 1; the pending and mask bits live in shared_info only; an
 * edge on a masked port is kept as its pending bit and nothing else (D-36). FIFO set-up answers -ENOSYS, which makes every
 * guest stay with this ABI.
 */
import { type Infer, list, struct, u8, u32 } from '../../core/schema.ts';
import type { GuestMemory } from '../../memory/guest-memory.ts';
import { ERRNO } from '../abi/errno.ts';

/** Channel states (the values of EVTCHNSTAT_*, public/event_channel.h). */
export const CHANNEL = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;
/** Virtual interrupts (public/xen.h). */
export const VIRQ = { timer: 0, debug: 1, console: 2, domExc: 3 } as const;
const VIRQS = 24;
const PER_VCPU_VIRQS = new Set<number>([0, 1, 13]);
const GLOBAL_VIRQS = new Set<number>([2, 3, 4, 6, 8, 10, 11]);
const MAX_PORTS = 4096;

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

const DOMID_SELF = 0x7ff0;
const OFFSET = { pending: 0x800, mask: 0xa00 } as const;
export const VCPU_INFO = { pending: 0, mask: 1, sel: 8, cr2: 0x10, time: 0x20 } as const;

/** What events need of the rest of the domain. */
export interface EventHost {
  readonly memory: GuestMemory;
  readonly sharedInfo: number;
  readonly vcpus: ReadonlyArray<{ infoAddress: number }>;
  /** A vCPU has become able to take an upcall, or a port it polls is pending. */
  wake(vcpu: number): void;
  pollersOf(port: number): void;
  /** The guest notified the far end of an interdomain channel. */
  notifyBackend(port: number): void;
}

export class Events {
  state: EventState = { channels: [{ state: CHANNEL.closed, vcpu: 0, remoteDomain: 0, remotePort: 0 }] };
  readonly #host: EventHost;
  constructor(host: EventHost) {
    this.#host = host;
  }

  channel(port: number): Channel | undefined {
    return port > 0 && port < this.state.channels.length ? this.state.channels[port] : undefined;
  }

  #allocate(entry: Channel): number {
    const { channels } = this.state;
    let port = 1;
    while (port < channels.length && channels[port]!.state !== CHANNEL.closed) port++;
    if (port >= MAX_PORTS) return -ERRNO.ENOSPC;
    channels[port] = entry;
    return port;
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
    return this.#test(OFFSET.pending, port);
  }
  isMasked(port: number): boolean {
    return this.#test(OFFSET.mask, port);
  }

  // ---- operations; each returns 0, a port or a negative errno -------------------------------------------------------

  allocUnbound(dom: number, remote: number): number {
    if (dom !== DOMID_SELF && dom !== 1) return -ERRNO.ESRCH;
    return this.#allocate({
      state: CHANNEL.unbound,
      vcpu: 0,
      remoteDomain: remote === DOMID_SELF ? 1 : remote,
      remotePort: 0,
    });
  }
  /** Connects an unbound channel to a backend of ours. */
  connectBackend(port: number): void {
    const entry = this.channel(port);
    if (entry?.state === CHANNEL.unbound)
      this.state.channels[port] = { ...entry, state: CHANNEL.interdomain, remotePort: port };
  }
  bindInterdomain(remote: number, remotePort: number): number {
    if (remote !== DOMID_SELF && remote !== 1) return -ERRNO.ESRCH;
    const far = this.channel(remotePort);
    if (far?.state !== CHANNEL.unbound || far.remoteDomain !== 1) return -ERRNO.EINVAL;
    const port = this.#allocate({ state: CHANNEL.interdomain, vcpu: 0, remoteDomain: 1, remotePort });
    if (port < 0) return port;
    this.state.channels[remotePort] = { ...far, state: CHANNEL.interdomain, remoteDomain: 1, remotePort: port };
    this.setPending(port);
    return port;
  }
  bindVirq(virq: number, vcpu: number): number {
    if (virq >= VIRQS) return -ERRNO.EINVAL;
    if (!PER_VCPU_VIRQS.has(virq) && vcpu !== 0) return -ERRNO.EINVAL;
    if (vcpu >= this.#host.vcpus.length) return -ERRNO.ENOENT;
    if (GLOBAL_VIRQS.has(virq)) return -ERRNO.EBUSY;
    if (this.virqPort(virq, vcpu) !== 0) return -ERRNO.EEXIST;
    return this.#allocate({ state: CHANNEL.virq, vcpu, remoteDomain: 0, remotePort: virq });
  }
  bindIpi(vcpu: number): number {
    if (vcpu >= this.#host.vcpus.length) return -ERRNO.ENOENT;
    return this.#allocate({ state: CHANNEL.ipi, vcpu, remoteDomain: 0, remotePort: 0 });
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
    if (entry.state === CHANNEL.interdomain && entry.remoteDomain === 1) {
      const far = this.channel(entry.remotePort);
      if (far && entry.remotePort !== port)
        this.state.channels[entry.remotePort] = { ...far, state: CHANNEL.unbound, remoteDomain: 1, remotePort: 0 };
    }
    this.state.channels[port] = { state: CHANNEL.closed, vcpu: 0, remoteDomain: 0, remotePort: 0 };
    this.#assign(OFFSET.pending, port, false);
    return 0;
  }
  send(port: number): number {
    const entry = this.channel(port);
    if (!entry) return -ERRNO.EINVAL;
    if (entry.state === CHANNEL.interdomain) {
      if (entry.remoteDomain === 1) this.setPending(entry.remotePort);
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
    this.#assign(OFFSET.mask, port, false);
    if (wasMasked && this.isPending(port)) this.#raise(port, entry.vcpu);
    return 0;
  }

  /** The port that carries `virq` to `vcpu`, or 0. */
  virqPort(virq: number, vcpu: number): number {
    const at = this.state.channels.findIndex(
      (c, port) =>
        port > 0 && c.state === CHANNEL.virq && c.remotePort === virq && (c.vcpu === vcpu || !PER_VCPU_VIRQS.has(virq)),
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
    if (!entry || this.isPending(port)) return;
    this.#assign(OFFSET.pending, port, true);
    if (!this.isMasked(port)) this.#raise(port, entry.vcpu);
    this.#host.pollersOf(port);
  }
  #raise(port: number, vcpu: number): void {
    const { memory } = this.#host;
    const info = this.#host.vcpus[vcpu]!.infoAddress;
    const sel = info + VCPU_INFO.sel + (port >> 9);
    const bit = 1 << ((port >> 6) & 7);
    const old = memory.read8(sel);
    if (old & bit) return;
    memory.write8(sel, old | bit);
    this.markPending(vcpu);
  }
  markPending(vcpu: number): void {
    const at = this.#host.vcpus[vcpu]!.infoAddress + VCPU_INFO.pending;
    if (this.#host.memory.read8(at) !== 0) return;
    this.#host.memory.write8(at, 1);
    this.#host.wake(vcpu);
  }
}
