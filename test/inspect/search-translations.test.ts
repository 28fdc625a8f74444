/** Searches of linear memory where a platform does not tell what a linear address leads to: turns of vCPUs, other roots. */
import { describe, expect, it } from 'vitest';
import type { Tick } from '../../src/core/units.ts';
import { parsePredicate } from '../../src/inspect/expression.ts';
import { Search } from '../../src/inspect/search.ts';
import { SessionMoment } from '../../src/inspect/session-moment.ts';
import { SymbolTable } from '../../src/inspect/symbols.ts';
import { Session } from '../../src/timeline/session.ts';
import { recordGuest } from '../support/time-travel.ts';
import { configOf, PLACES, platformsOf, rootOf, type VcpuGuest, vcpuMachine } from '../support/vcpus.ts';

const END = 400;
const dword = (value: number): number[] => [...new Uint8Array(Uint32Array.of(value).buffer)];
const NOPS = Array(9).fill(0x90);
/** jmp . */
const STAY = [0xeb, 0xfe];
/** mov edi, data; mov dword [rdi], value */
const store = (value: number): number[] => [0xbf, ...dword(PLACES.data), 0xc7, 0x07, ...dword(value)];
/** mov eax, root; mov cr3, rax */
const useTables = (vcpu: number): number[] => [0xb8, ...dword(rootOf(vcpu) * 4096), 0x0f, 0x22, 0xd8];
/** Both address spaces in turn. */
function flip(): number[] {
  const first = [...useTables(0), ...store(5), ...useTables(1), ...store(7), ...NOPS];
  const round = [...useTables(0), ...NOPS, ...useTables(1), ...NOPS];
  return [...first, ...round, 0xeb, -(round.length + 2) & 0xff];
}
const guest = (code: readonly number[][], quantum: number): VcpuGuest => ({
  pagings: ['long', 'long'],
  code: code.map((bytes) => Uint8Array.from(bytes)),
  quantum,
});

describe.each([
  [
    'turns of vCPUs',
    guest(
      [
        [...store(5), ...STAY],
        [...store(7), ...STAY],
      ],
      10,
    ),
  ],
  ['loads of CR3', guest([flip(), flip()], 100_000)],
])('%s', (_, made) => {
  const WORD = `u32[${PLACES.data}]`;
  it.each([`${WORD} == 7`, `${WORD} == 5`, `prev(${WORD}) != ${WORD}`, `pte(${PLACES.data}).p && ${WORD} == 7`])(
    '%s',
    async (source) => {
      const { recording } = await recordGuest(configOf(made), { platforms: platformsOf(made), limitTicks: END });
      const session = new Session(vcpuMachine(made).run, recording);
      const moment = new SessionMoment(session, SymbolTable.empty);
      const search = new Search(session, moment);
      /** Ticks at which it holds, looked at one by one. */
      const all: Tick[] = [];
      const predicate = parsePredicate(source, moment);
      await session.goto(0);
      for (; session.tick < END; session.forward(session.tick + 1)) if (predicate.holds(moment)) all.push(session.tick);
      expect(all.length).toBeGreaterThan(4);
      for (const from of [60, 65, 71, 76]) {
        const { tick } = await search.first(parsePredicate(source, moment), from, END);
        expect([from, tick]).toEqual([from, all.find((at) => at >= from)]);
        const last = await search.last(() => parsePredicate(source, moment), from);
        expect([from, last]).toEqual([from, all.findLast((at) => at < from) ?? null]);
      }
    },
  );
});
