/**
 * Bare-metal kernels of our own on the IDT machine: what they print is what they print on QEMU and on Bochs, except where these are
 * known not to do what the manual says (tools/guest-kernels/deviations.ts).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildIdtMachine } from '../../src/machine/idt/build.ts';
import type { Machine, RunEnd } from '../../src/machine/machine.ts';
import { encodeCpu } from '../../src/x86/cpu-state.ts';
import type { Vendor } from '../../src/x86/features.ts';
import type { CpuPolicy } from '../../src/x86/form.ts';
import { type BochsParts, findBochs } from '../../tools/bochs.ts';
import { AS_QEMU, BY_VENDOR, DEVIATIONS } from '../../tools/guest-kernels/deviations.ts';
import {
  expectedByManual,
  expectedOnBochs,
  expectedOnQemu,
  hasQemu,
  kernelPath,
  kernels,
  NOT_ON_QEMU,
  runOnBochs,
  runOnQemu,
  transcriptPath,
} from '../../tools/guest-kernels/transcripts.ts';
import { errorOf } from '../support/error.ts';

const BUILD = resolve(import.meta.dirname, '../../tools/guest-kernels/build.sh');
const BOCHS = findBochs();
const MEMORY = 16 << 20;
/** A policy of each vendor. */
const POLICY: Readonly<Record<Vendor, CpuPolicy>> = { amd: 'x86-64-v1', intel: 'x86-64-v1-intel' };
/** Far more than any kernel takes. */
const LIMIT = 2_000_000;

interface Run {
  readonly text: string;
  readonly end: RunEnd;
  readonly machine: Machine;
}
function run(name: string, tier: 'cold' | 'oracle', slice = LIMIT, vendor: Vendor = 'intel'): Run {
  let text = '';
  const machine = buildIdtMachine(
    { kernel: new Uint8Array(readFileSync(kernelPath(name))), memoryBytes: MEMORY },
    { engine: { tier, policy: POLICY[vendor] }, write: (byte) => (text += String.fromCharCode(byte)) },
  );
  let end = machine.runTo(slice);
  while (end.kind === 'limit' && machine.tick < LIMIT) end = machine.runTo(machine.tick + slice);
  return { text, end, machine };
}

test('the kernels are there', () => {
  expect(kernels()).toEqual(
    [
      ...[
        'align',
        'breakpoints',
        'debug',
        'doublefault',
        'exceptions',
        'fpu',
        'limits',
        'modes',
        'paging',
        'privilege',
      ],
      ...['protected', 'smc', 'strict', 'triple'],
    ].sort(),
  );
});

describe.each(kernels())('%s', (name) => {
  test.each([
    ['cold', 'intel'],
    ['oracle', 'intel'],
    ['cold', 'amd'],
    ['oracle', 'amd'],
  ] as const)("the %s tier prints the transcript on %s's processor", (tier, vendor) => {
    const { text, end } = run(name, tier, LIMIT, vendor);
    expect(text.split('\n')).toEqual(expectedByManual(name, vendor));
    const verdict = { kind: name === 'triple' ? 'triple-fault' : 'poweroff' };
    expect(end).toMatchObject({ kind: 'stop', stop: { verdict } });
  });

  test('cutting the run into slices changes nothing', () => {
    const whole = run(name, 'cold');
    const cut = run(name, 'cold', 7);
    expect(cut.text).toBe(whole.text);
    expect(cut.machine.tick).toBe(whole.machine.tick);
    expect(encodeCpu(cut.machine.cpu)).toEqual(encodeCpu(whole.machine.cpu));
  });

  test('every deviation is a line of the transcript that QEMU or Bochs prints otherwise', () => {
    const lines = readFileSync(transcriptPath(name), 'latin1').split('\n');
    for (const [test, { manual, qemu, bochs }] of Object.entries(DEVIATIONS[name] ?? {})) {
      const line = lines.find((x) => x.startsWith(`${test}:`));
      expect(line, test).toBeDefined();
      expect(line !== `${test}: ${manual}`, test).toBe(qemu !== null);
      expect(qemu ?? bochs, test).not.toBeNull();
      if (bochs !== null)
        expect(bochs.prints === AS_QEMU ? line : `${test}: ${bochs.prints}`).not.toBe(`${test}: ${manual}`);
    }
  });

  // a kernel without a line of either vendor's needs no second run
  const vendors: readonly Vendor[] = name in BY_VENDOR ? ['intel', 'amd'] : ['intel'];
  test.skipIf(NOT_ON_QEMU.includes(name) || !hasQemu()).each(vendors)(
    "QEMU as %s's prints the transcript",
    (vendor) => {
      expect(runOnQemu(name, vendor).split('\n')).toEqual(expectedOnQemu(name, vendor));
    },
  );

  test.skipIf(typeof BOCHS === 'string')('Bochs prints what the manual says, but for its deviations', () => {
    expect(runOnBochs(BOCHS as BochsParts, name).split('\n')).toEqual(expectedOnBochs(name));
  });
});

const hasCompiler = spawnSync('gcc', ['--version']).status === 0 && spawnSync('ld', ['--version']).status === 0;
test.skipIf(!hasCompiler)('the committed kernels are what their sources build', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  try {
    const { status, stderr } = spawnSync('sh', [BUILD, folder], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const name of kernels())
      expect(readFileSync(join(folder, `${name}.elf`)).equals(readFileSync(kernelPath(name))), name).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('an image without a PVH entry, and one that memory cannot hold', () => {
  const kernel = new Uint8Array(readFileSync(kernelPath('triple')));
  expect(errorOf(() => buildIdtMachine({ kernel, memoryBytes: 1 << 20 }))).toMatch(/^E_MEMORY: the image ends at 0x/);
  const note = Buffer.from(kernel).indexOf('Xen\0');
  const without = kernel.slice();
  without[note] = 0x59;
  expect(errorOf(() => buildIdtMachine({ kernel: without, memoryBytes: MEMORY }))).toMatch(
    /^E_PLATFORM: .*no PVH entry/,
  );
});
