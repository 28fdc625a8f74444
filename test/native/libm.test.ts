/** The C library of this host, statically linked, on the host and on our CPU: what programs make of the transcendental instructions. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PT_LOAD, readElf, readSymbols, segmentBytes } from '../../src/elf/elf.ts';
import { TestMachine } from '../engine/machine.ts';
import { ulpsBetween } from './transcendental.ts';

const FUNCTIONS = ['logl', 'sinl', 'atan2l', 'expl'];
const COUNT = 10_000;
const BYTES = FUNCTIONS.length * COUNT * 16;
const PAGE = 4096n;

const folder = mkdtempSync(join(tmpdir(), 'libm-'));
const binary = join(folder, 'libm');
const options = ['-O1', '-static', '-no-pie', '-fno-pie', '-fcf-protection=none', '-fno-stack-protector'];
const built = spawnSync('gcc', [...options, '-o', binary, join(import.meta.dirname, 'libm.c'), '-lm']);
const missing = process.arch !== 'x64' ? 'no x86-64 host' : built.status === 0 ? null : 'no gcc with a static libm';
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The results of the program begun at `bare`, on a bare machine. */
function onOurs(): Uint8Array {
  const machine = new TestMachine();
  const elf = readElf(new Uint8Array(readFileSync(binary)));
  const symbols = new Map(readSymbols(elf).map(({ name, value }) => [name, value]));
  const mapped = new Set<bigint>();
  for (const segment of elf.segments.filter(({ type }) => type === PT_LOAD)) {
    for (let page = segment.vaddr / PAGE; page * PAGE < segment.vaddr + BigInt(segment.memsz); page++)
      if (!mapped.has(page)) mapped.add(page) && machine.mapNew(page * PAGE, 1);
    machine.write(segment.vaddr, segmentBytes(elf, segment));
  }
  // the stack protector's canary, at FS:28H
  machine.mapNew(0n, 1);
  machine.cpu.set('fcw', 0x37f);
  machine.cpu.rip = symbols.get('bare')!;
  machine.runAll(100_000_000);
  expect(machine.platform.deliveries.map(({ event, rip }) => ({ vector: event.vector, rip }))).toEqual([]);
  const results = symbols.get('results')!;
  return Uint8Array.from({ length: BYTES }, (_, i) => machine.memory.read8(machine.pa(results + BigInt(i))));
}

const patternAt = (view: DataView, at: number): bigint =>
  view.getBigUint64(at, true) | (BigInt(view.getUint16(at + 8, true)) << 64n);

describe.skipIf(missing !== null)(`the C library${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let host: DataView;
  let ours: DataView;
  beforeAll(() => {
    host = new DataView(new Uint8Array(execFileSync(binary, { maxBuffer: 2 * BYTES })).buffer);
    ours = new DataView(onOurs().buffer);
  }, 120_000);

  it.each(FUNCTIONS.map((name, i) => [name, i] as const))(`%s of ${COUNT} arguments is within 1 ulp`, (_, n) => {
    const distances = new Map<number, number>();
    for (let i = 0; i < COUNT; i++) {
      const at = (n * COUNT + i) * 16;
      const ulps = ulpsBetween(patternAt(ours, at), patternAt(host, at));
      distances.set(ulps, (distances.get(ulps) ?? 0) + 1);
    }
    expect(distances.get(0)).toBeGreaterThan(COUNT / 2);
    expect(
      [...distances.keys()].every((ulps) => ulps <= 1),
      JSON.stringify([...distances]),
    ).toBe(true);
  });
});
