/** The kinds of platform that there are: what each refuses, and a run of the IDT machine recorded as any other. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { imageOf, type MachineConfig } from '../../src/machine/config.ts';
import { DEFAULT_PLATFORM, kindOf, PLATFORMS } from '../../src/machine/platforms.ts';
import { xenOf } from '../../src/machine/xen-pv/xen-of.ts';
import { Run } from '../../src/timeline/run.ts';
import { Session } from '../../src/timeline/session.ts';
import { expectedByManual, kernelPath } from '../../tools/guest-kernels/transcripts.ts';
import { errorOf } from '../support/error.ts';
import { recordGuest, replayGuest, timeTravelGuest } from '../support/time-travel.ts';

const MIB = 1 << 20;
const IDT: MachineConfig = {
  ...timeTravelGuest(''),
  platform: 'idt',
  images: { kernel: new Uint8Array(readFileSync(kernelPath('paging'))) },
  memoryBytes: 16 * MIB,
};

it('each stands under its id, and another id is refused', () => {
  for (const [id, kind] of PLATFORMS) expect(kind.id).toBe(id);
  expect(kindOf('xen-pv').id).toBe(DEFAULT_PLATFORM);
  for (const id of ['', 'xen', 'constructor']) expect(errorOf(() => kindOf(id))).toMatch(/^E_SEMANTICS: .*platform/);
});
it.each([
  ['xen-pv', { memoryBytes: 3 * MIB }, 'at least 4 MiB'],
  ['xen-pv', { vcpus: 2 }, 'a domain of 2 vCPUs'],
  ['xen-pv', { vcpus: 0 }, 'a domain of 0 vCPUs'],
  ['xen-pv', { commandLine: 'ü'.repeat(512) }, 'a command line of 1024 bytes'],
  ['xen-pv', { commandLine: 'x'.repeat(1023) }, null],
  ['idt', { memoryBytes: 16 * MIB + 1 }, 'whole pages'],
  ['idt', { memoryBytes: 2048 * MIB }, '1 GiB'],
  ['idt', { vcpus: 2 }, 'one vCPU'],
  ['idt', {}, null],
] as const)('%s with %j: %s', (id, change, problem) => {
  const said = kindOf(id).problem({ ...timeTravelGuest(''), ...change });
  if (problem === null) expect(said).toBeNull();
  else expect(said).toContain(problem);
});
it('an image that is missing is named', () => {
  expect(errorOf(() => imageOf({ ...IDT, images: {} }, 'kernel'))).toBe('E_IMAGE: there is no image kernel');
  for (const platform of PLATFORMS.keys())
    expect(errorOf(() => new Run({ ...IDT, platform, images: {} }))).toMatch(/^E_IMAGE/);
});
it('the IDT machine is recorded, replayed and gone back in as any other', async () => {
  const { run, recording, outcome } = await recordGuest(IDT, { strideTicks: 5_003, flushTicks: 20_000 });
  expect(outcome.verdict.kind).toBe('poweroff');
  expect(run.console.textAt(outcome.tick).split('\n')).toEqual(expectedByManual('paging'));
  expect(xenOf(run.machine)).toBeNull();
  expect(await replayGuest(IDT, recording)).toMatchObject({ verified: true, tick: outcome.tick });
  const session = new Session(new Run(IDT, { tier: 'cold' }), recording);
  await session.goto(outcome.tick);
  expect(session.run.stateHash()).toBe(outcome.stateHash);
  await session.goto(1_000);
  const early = session.run.stateHash();
  await session.goto(outcome.tick);
  await session.goto(1_000);
  expect(session.run.stateHash()).toBe(early);
});
