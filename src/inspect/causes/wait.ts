/**
 * A vCPU that waits: since when, for which events, and whether the one it waits for has come already: the handler of the last one wrote a
 * word that the waiting code had read before it and never read again.
 */
import { hex, type Tick, type VirtAddr } from '../../core/units.ts';
import { addressOf, MAX_INSTRUCTION_BYTES } from '../disassembly.ts';
import type { Inquiry, RunEvent } from '../investigate.ts';
import { link } from '../investigate.ts';
import type { Link, WaitReport } from '../report.ts';
import { isOnStack } from '../stack.ts';
import { symbolText } from '../symbol-text.ts';

/** Steps of a handler that are looked at; ticks before it in which the word may have been read. */
const HANDLER_STEPS = 4096;
const READ_TICKS = 2 ** 24;
/** Ticks in which the last event and the last call are looked for. */
const EVENT_TICKS = 2 ** 28;
/** Words that are asked about. */
const WORDS = 16;

interface Word {
  readonly address: VirtAddr;
  readonly bytes: number;
  readonly before: bigint;
  readonly after: bigint;
  readonly tick: Tick;
  readonly rip: VirtAddr;
}

export interface Waited {
  readonly wait: WaitReport;
  readonly chain: readonly Link[];
}

/** What the vCPU of the verdict, which is blocked, waits for. */
export async function waitOf(inquiry: Inquiry): Promise<Waited> {
  const { of, caller } = inquiry;
  const { vcpu } = of.verdict;
  const { upcall, back, call } = await lastEvents(inquiry, vcpu);
  const word =
    upcall === null || call === null
      ? null
      : await lostWord(inquiry, upcall, back?.tick ?? upcall.tick + HANDLER_STEPS, call.tick);
  const wait: WaitReport = {
    ...{ vcpu, tick: call?.tick ?? of.lastTick, symbol: caller },
    lastUpcall:
      upcall === null ? null : { tick: upcall.tick, rip: upcall.rip, symbol: symbolText(of.symbols, upcall.rip) },
    word,
    lostWakeup: word !== null,
  };
  const chain: Link[] = [];
  if (upcall !== null) chain.push(link(of, 'the last event was taken here', upcall.tick, upcall.rip));
  if (word === null) return { wait, chain };
  const name = word.symbol ?? hex(word.address);
  chain.unshift(
    link(
      of,
      `a lost wake-up: ${name} was ${hex(word.readValue)} when it was looked at, and is ${hex(word.value)} since, before the vCPU blocked`,
      word.readTick,
      word.readRip,
    ),
    link(of, `the handler of the last event made it ${hex(word.value)}`, word.writeTick, word.writeRip),
  );
  return { wait, chain };
}

/** The last event taken, the return from it, and the last call of the hypervisor. */
async function lastEvents(
  { of }: Inquiry,
  vcpu: number,
): Promise<{ upcall: RunEvent | null; back: RunEvent | null; call: RunEvent | null }> {
  let [upcall, back, call]: Array<RunEvent | null> = [null, null, null];
  for await (const events of of.events(Math.max(of.firstTick, of.lastTick - EVENT_TICKS), of.lastTick))
    for (const event of events) {
      if (event.vcpu !== vcpu) continue;
      if (event.kind === 'upcall') [upcall, back] = [event, null];
      else if (event.name === 'iret') back ??= event;
      else if (event.kind === 'hypercall') call = event;
    }
  return { upcall: upcall!, back: back!, call: call! };
}

/** The word that the handler changed, that had been read before and was not read afterwards. */
async function lostWord(inquiry: Inquiry, upcall: RunEvent, end: Tick, blocked: Tick): Promise<WaitReport['word']> {
  const { of } = inquiry;
  for (const word of (await writtenBy(inquiry, upcall, end)).slice(-WORDS)) {
    const { address, bytes } = word;
    const place = { space: 'va' as const, address };
    await of.at(blocked);
    if ((await of.lastRead(place, bytes, blocked, end)) !== null) continue;
    await of.at(upcall.tick);
    const read = await of.lastRead(place, bytes, upcall.tick, Math.max(of.firstTick, upcall.tick - READ_TICKS));
    if (read === null) continue;
    return {
      ...{ address, bytes, symbol: symbolText(of.symbols, address), value: word.after },
      ...{ readTick: read.tick, readRip: read.rip, readValue: word.before },
      ...{ writeTick: word.tick, writeRip: word.rip },
    };
  }
  return null;
}

/** Words in memory, no stack, that the handler of an event has changed. */
async function writtenBy({ of, disassembler }: Inquiry, { tick, vcpu }: RunEvent, end: Tick): Promise<Word[]> {
  const stores: Array<Pick<Word, 'address' | 'bytes' | 'tick' | 'rip'>> = [];
  await of.walk(tick + 1, Math.min(end, tick + HANDLER_STEPS), (moment) => {
    if (moment.vcpu !== vcpu) return;
    const { rip } = moment;
    const found = disassembler.decode(moment.bytes(rip, MAX_INSTRUCTION_BYTES), rip, moment.codeBits);
    for (const reference of found?.memory ?? []) {
      if (!reference.writes || reference.bytes < 1 || reference.bytes > 8) continue;
      const address = addressOf(reference, (name) => moment.register(name, vcpu));
      if (!isOnStack(found!, moment, vcpu)) stores.push({ address, bytes: reference.bytes, tick: moment.tick, rip });
    }
  });
  const out: Word[] = [];
  const before = await of.at(tick);
  const held = stores.map(({ address, bytes }) => before.read('va', address, bytes));
  const after = await of.at(end);
  for (const [i, store] of stores.entries()) {
    const [was, is] = [held[i] ?? null, after.read('va', store.address, store.bytes)];
    if (was !== null && is !== null && was !== is) out.push({ ...store, before: was, after: is });
  }
  return out;
}
