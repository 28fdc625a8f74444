/**
 * A guest that does not go on: it waits for an event that never comes, or it goes round a loop that polls a word nobody
 * changes, or a fault that its handler does not mend. Names the loop, the word and the event masks, or the operand that faults.
 */
import { hex, type Tick, type VirtAddr } from '../../core/units.ts';
import { addressOf, MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { Finding, Inquiry, Investigator, RunEvent } from '../investigate.ts';
import { instructionAt, lastWriter, link, NOTHING } from '../investigate.ts';
import { symbolText } from '../symbol-text.ts';
import { explainOperand, trapText } from './trap.ts';
import { waitOf } from './wait.ts';

/** How many of the last steps are searched for the fault of a fault loop, and how many of them are looked at. */
const FAULT_STEPS = 2 ** 18;
const MOST_FAULTS = 2 ** 16;
/** Steps of a round where only one has been seen, and some more than seen. */
const ROUND_STEPS = 2 ** 18;
const SOME_STEPS = 64;
/** How many of the last steps are searched for the loop. */
const LOOP_STEPS = 8192;

/** Explains the verdict `hang`. */
export async function explainHang(inquiry: Inquiry): Promise<Finding> {
  const { of, disassembler, caller } = inquiry;
  const moment = await of.at(of.lastTick);
  const rip = moment.register('rip', of.verdict.vcpu) ?? 0n;
  const masks = of.explanation.waits(of.verdict.vcpu).map((what) => link(of, what, of.lastTick, null));
  if (moment.blocked) {
    const instruction = instructionAt(disassembler, moment, rip);
    const blocked = link(
      of,
      `blocked: waits for an event, called from ${caller ?? 'an unknown place'}`,
      of.lastTick,
      rip,
    );
    const { wait, chain } = await waitOf(inquiry);
    return { ...NOTHING, chain: [blocked, ...chain, ...masks], instruction, wait };
  }
  const fault = of.verdict.message.startsWith('fault loop') ? await findFault(inquiry) : null;
  if (fault !== null) {
    const blamed = await explainOperand(inquiry, fault);
    const what = `each return of the handler leads to the same fault at once: ${trapText(fault)}`;
    return { ...blamed, chain: [link(of, what, fault.tick, fault.rip), ...blamed.chain] };
  }
  const loop = await findLoop(inquiry);
  if (loop === null) return { ...NOTHING, chain: masks };
  const { symbols } = of;
  const name = symbolText(symbols, loop.rip) ?? hex(loop.rip);
  if (of.verdict.kind !== 'hang') {
    // somebody ended it: nothing says that what it did it would have done for ever
    const what = `of the last ${LOOP_STEPS} steps ${loop.rounds} began at ${name}, more than anywhere else`;
    return { ...NOTHING, chain: [link(of, what, of.lastTick, loop.rip), ...masks] };
  }
  const chain = [link(of, `goes round a loop in ${name}, ${loop.rounds} rounds seen`, of.lastTick, loop.rip)];
  const report = { vcpu: of.verdict.vcpu, rip: loop.rip, symbol: symbolText(symbols, loop.rip), rounds: loop.rounds };
  if (loop.polled === null) return { ...NOTHING, chain: [...chain, ...masks], loop: { ...report, word: null } };
  const { polled } = loop;
  const word = symbolText(symbols, polled.address);
  const operand = `u${polled.bytes * 8}[${hex(polled.address)}]${word === null ? '' : ` (${word})`} = ${hex(polled.value)}`;
  chain.push(link(of, `polls ${operand}, which does not change`, of.lastTick, polled.rip));
  const writer = await lastWriter(inquiry, { space: 'va', address: polled.address }, polled.bytes, of.lastTick);
  const { address, bytes, value } = polled;
  return {
    ...NOTHING,
    chain: [...chain, ...masks],
    ...{ instruction: polled.text, operand, lastWriter: writer },
    loop: { ...report, word: { address, bytes, value, symbol: word, lastWriter: writer } },
  };
}

/** The first of the faults that come again and again in the end; handlers may have others. */
async function findFault({ of }: Inquiry): Promise<RunEvent | null> {
  const late = await faults(of, Math.max(of.firstTick, of.lastTick - FAULT_STEPS), of.lastTick);
  const [most] = [...Map.groupBy(late, fault).values()].toSorted((x, y) => y.length - x.length);
  if (most === undefined) return null;
  const again = (event: RunEvent): boolean => fault(event) === fault(most[0]!);
  // it comes again and again from its first time on: that is found by halving
  const round = most.length < 2 ? ROUND_STEPS : 2 * (most[1]!.tick - most[0]!.tick) + SOME_STEPS;
  let [low, high] = [of.firstTick, most[0]!.tick];
  while (high - low > round) {
    const middle = Math.floor((low + high) / 2);
    if ((await faults(of, middle, middle + round)).some(again)) high = middle;
    else low = middle;
  }
  return (await faults(of, low, high + round)).find(again) ?? most[0]!;
}
/** The exceptions of a stretch. */
async function faults(of: Investigator, from: Tick, to: Tick): Promise<RunEvent[]> {
  const out: RunEvent[] = [];
  for await (const events of of.events(from, Math.min(to, of.lastTick)))
    for (const event of events) if (event.kind === 'trap' && out.length < MOST_FAULTS) out.push(event);
  return out;
}
/** What makes one fault the same as another. */
const fault = ({ rip, fields }: RunEvent): string => `${rip} ${fields.vector} ${fields.address} ${fields.error}`;

interface Polled {
  readonly address: VirtAddr;
  readonly bytes: number;
  readonly value: bigint;
  readonly rip: VirtAddr;
  readonly text: string;
}
interface Loop {
  readonly rip: VirtAddr;
  readonly rounds: number;
  readonly polled: Polled | null;
}

/** One instruction that reads memory, over all its executions. */
interface Reader extends Polled {
  count: number;
  constant: boolean;
  readonly stack: boolean;
  /** It is read through a register that holds what is read: it leads to itself. */
  readonly link: boolean;
}

/** The loop that the last steps go round, by its most frequent instructions, and a word it reads without change. */
async function findLoop({ of, disassembler }: Inquiry): Promise<Loop | null> {
  const { vcpu } = of.verdict;
  const visits = new Map<VirtAddr, number>();
  const readers = new Map<VirtAddr, Reader>();
  await of.walk(Math.max(of.firstTick, of.lastTick - LOOP_STEPS), of.lastTick, (moment) => {
    if (moment.vcpu !== vcpu) return;
    const rip = moment.register('rip', vcpu) ?? 0n;
    visits.set(rip, (visits.get(rip) ?? 0) + 1);
    const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
    const reference = found?.memory.find((m) => m.reads && m.bytes > 0 && m.bytes <= 8);
    if (!found || reference === undefined) return;
    const address = addressOf(reference, (name) => moment.register(name, vcpu));
    const value = moment.read('va', address, reference.bytes);
    if (value === null) return;
    const known = readers.get(rip);
    if (known === undefined) {
      const stack = reference.base === 'rsp' || reference.base === 'rbp' || found.flow === 'return';
      readers.set(rip, {
        address,
        bytes: reference.bytes,
        value,
        rip,
        text: found.text,
        count: 1,
        constant: true,
        stack,
        link: reference.base !== null && moment.register(reference.base, vcpu) === value,
      });
    } else {
      known.count++;
      known.constant &&= known.address === address && known.value === value;
    }
  });
  const [rip, rounds] = [...visits].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [0n, 0]);
  if (rounds < 2) return null;
  // A loop's every instruction runs about as often; what runs rarely belongs to its surroundings.
  const steady = [...readers.values()].filter((r) => r.constant && !r.stack && r.count * 4 >= rounds);
  const polled = steady.find((r) => r.link) ?? steady.toSorted((a, b) => b.count - a.count)[0] ?? null;
  return { rip, rounds, polled };
}
