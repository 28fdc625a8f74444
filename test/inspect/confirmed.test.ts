/** `why` of the built-in failing boot: the root, and what becomes of the boot without it. */
import { beforeAll, expect, test } from 'vitest';
import type { WhyReport } from '../../src/inspect/report.ts';
import { QUIET } from '../../src/inspect/search.ts';
import { SessionInvestigator } from '../../src/inspect/session-investigator.ts';
import { SymbolTable, symbolsOfImage } from '../../src/inspect/symbols.ts';
import { why } from '../../src/inspect/why.ts';
import { StopSet } from '../../src/machine/stops.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import { whatIf } from '../../src/timeline/what-if.ts';
import { failingBoot, type Recorded, recordGuest } from '../support/time-travel.ts';

const GUEST = failingBoot();
let recorded: Recorded;
let session: Session;
let report: WhyReport;
beforeAll(async () => {
  recorded = await recordGuest(GUEST);
  session = new Session(new Run(GUEST), recorded.recording);
  const symbols = symbolsOfImage(session.run.elf) ?? SymbolTable.empty;
  const { outcome } = recorded;
  const verdict = {
    ...{ kind: 'crash' as const, message: 'domain_crash', tick: outcome.tick },
    ...{ vcpu: 0, rip: null, symbol: null },
  };
  report = await why(new SessionInvestigator(session, symbols, verdict, QUIET, () => new Run(GUEST)));
});

test('[S01] the refused entry decides, and the store that made it writable is the root', () => {
  expect(report.decides).toMatchObject({ role: 'request' });
  expect(report.root?.store).toMatchObject({ tick: 6525, instruction: 'mov [rcx*8+new_l1], rax' });
  expect(report.root?.store?.symbol).toMatch(/^map_image/);
});
test('[S01] without that store the boot does not fail', () => {
  expect(report.confirmed).toBe(true);
  expect(report.instead).toMatch(/^the guest goes on/);
});
test('a change that changes nothing ends as the recording does, and one made after the end comes too late', async () => {
  const { tick } = recorded.outcome;
  await session.goto(7000);
  const address = 0x1103870;
  const bytes = session.run.machine.engine.memory.readBytes(address, 8);
  const same = await whatIf(
    new Run(GUEST),
    recorded.recording,
    { tick: 7000, address, bytes },
    tick + 1000,
    StopSet.NONE,
    async () => {},
  );
  expect(same).toMatchObject({ kind: 'stop', tick });
});
test('a frame that the hypervisor keeps books of is not changed', async () => {
  const { explanation, machine } = session.run;
  await session.goto(7000);
  const root = Number((machine.cpu.get('cr3') >> 12n) & 0xffffffffffn) * 4096;
  expect(explanation.isPlain(root)).toBe(false);
  expect(explanation.isPlain(0x1103870)).toBe(true);
  const another = (): never => expect.unreachable('no machine is to be made');
  const symbols = SymbolTable.empty;
  const verdict = { kind: 'crash' as const, message: '', tick: session.endTick, vcpu: 0, rip: null, symbol: null };
  const investigator = new SessionInvestigator(session, symbols, verdict, QUIET, another);
  expect(await investigator.undo({ tick: 7000, from: 6000, address: root, bytes: 8 }, null)).toBeNull();
});
test('[X-01] trying leaves the recording as it was', async () => {
  await session.goto(session.endTick);
  expect(session.run.stateHash()).toBe(recorded.outcome.stateHash);
});
