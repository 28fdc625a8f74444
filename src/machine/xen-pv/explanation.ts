/** What the Xen PV platform knows for people (../explanation.ts), put together. */
import { PAGE_SIZE, type PhysAddr, type VirtAddr } from '../../core/units.ts';
import { descriptorAddress } from '../../xen/pv/descriptors.ts';
import type { XenEvent, XenPv } from '../../xen/pv/pv.ts';
import type {
  Blame,
  Explanation,
  HangRules,
  Look,
  NamedEvent,
  Place,
  Question,
  ReentryLimits,
  Signs,
} from '../explanation.ts';
import type { Machine } from '../machine.ts';
import type { MachineEvent } from '../platform.ts';
import { decode, eventFields, HEARD, KINDS } from './events.ts';
import { XenHangRules } from './hang/rules.ts';
import { frameType, questions } from './questions.ts';
import { blameEntry, blameRequest, denial, refusal } from './refused.ts';
import { blameArguments, handlers, stackOf } from './refused-arguments.ts';
import { portsOf, upcallOf, waitLines } from './waits.ts';

const PAGE = BigInt(PAGE_SIZE);
/** Types of frames that the guest itself may change as it likes. */
const PLAIN: ReadonlySet<string> = new Set(['none', 'writable']);

export class XenExplanation implements Explanation {
  readonly heard = HEARD;
  readonly kinds = KINDS;
  readonly eventFields = eventFields;
  readonly questions: ReadonlyMap<string, Question>;
  readonly translations = ['tables'];
  readonly refusal = refusal;
  readonly denial = denial;
  readonly handlers = handlers;
  readonly provenance: Explanation['provenance'];
  readonly #xen: XenPv;

  /** `provenance`: what the builder put where. */
  constructor(xen: XenPv, provenance: Explanation['provenance']) {
    this.#xen = xen;
    this.provenance = provenance;
    this.questions = questions(xen);
  }

  decode(event: MachineEvent, look: Look): NamedEvent[] {
    return decode(event as XenEvent, look);
  }
  watch({ log, userRuns }: Signs): () => void {
    const { stream } = this.#xen;
    const undo = [
      log === undefined ? null : stream.on('log', ({ line }) => log(line)),
      userRuns === undefined
        ? null
        : stream.on('hypercall', ({ way, vcpu }) => {
            if (way === 'I' && !this.#xen.vcpus[vcpu]!.kernelMode) userRuns();
          }),
    ];
    return () => {
      for (const end of undo) end?.();
    };
  }
  machineAddress(physical: bigint): bigint {
    return physical + BigInt(this.#xen.mm.domain.layout.domainBase) * PAGE;
  }
  blame(
    event: NamedEvent,
    log: readonly string[],
    look: Look,
    nameOf: (address: VirtAddr) => string | null,
  ): Blame | null {
    return (
      blameEntry(look, log, nameOf, (frame) => frameType(this.#xen, frame)) ??
      blameRequest(look, event) ??
      blameArguments(look, event, log)
    );
  }
  stackOf(event: NamedEvent, verdict: string): Blame | null {
    return this.#xen.vcpus[event.vcpu]!.kernelMode ? null : stackOf(event, verdict);
  }
  descriptor(vcpu: number, selector: number): Place | null {
    const address = descriptorAddress(this.#xen, this.#xen.cpus[vcpu]!, selector);
    return address === null ? null : { space: 'ma', address: BigInt(address) };
  }
  isPlain(address: PhysAddr): boolean {
    return PLAIN.has(frameType(this.#xen, BigInt(Math.floor(address / PAGE_SIZE))) ?? '');
  }
  hangRules(machine: Machine, limits?: ReentryLimits): HangRules {
    return new XenHangRules(machine, this.#xen, limits);
  }
  waits(vcpu: number): readonly string[] {
    return waitLines(vcpu, upcallOf(this.#xen, vcpu), portsOf(this.#xen));
  }
}
