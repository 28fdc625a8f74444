/** Machine code kept between processes: a machine that runs it does what a machine does that compiles anew. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CompiledCode, nameOf } from '../../src/cli/local/compiled-code.ts';
import type { Promotion } from '../../src/engine/hot/promotion.ts';
import { CodeFile } from '../../store/code-file.ts';
import { CODE, DATA, TestMachine } from '../engine/machine.ts';

const EAGER: Promotion = { sampleSteps: 7, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
/** Steps of a turn; within some tens of turns V8 has optimized the loop, how soon depends on the host. */
const STEPS = 2_000_000;
const TURNS = 20;

/** A loop that adds what it reads and writes it back: mov rdx, [rbx]; add rax, rdx; add [rbx+8], rax; inc rcx; jmp. */
const LOOP = new Uint8Array([0x48, 0x8b, 0x13, 0x48, 0x01, 0xd0, 0x48, 0x01, 0x43, 0x08, 0x48, 0xff, 0xc1, 0xeb, 0xf1]);

function machine(code: CompiledCode | null): TestMachine {
  const m = new TestMachine({
    tier: 'hot',
    promotion: EAGER,
    ...(code === null ? {} : { host: code }),
  });
  m.mapNew(CODE, 1);
  m.mapNew(DATA, 1);
  m.write(CODE, LOOP);
  m.write(DATA, new Uint8Array([3]));
  m.set('rbx', DATA);
  return m;
}
describe('compiled code that is kept', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'code-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const open = (): CompiledCode => CompiledCode.of(new CodeFile(folder, 'k'))!;

  /** The digest after so many turns of the loop; V8 gets more of them until it has optimized the loop, and that is kept. */
  async function keep(): Promise<string> {
    const code = open();
    const m = machine(code);
    for (let turn = 0; turn < TURNS; turn++) m.run(STEPS);
    const digest = m.digest();
    for (code.save(); !isModuleKept(); code.save()) {
      m.run(STEPS);
      await sleep(5);
    }
    return digest;
  }
  const isModuleKept = (): boolean => {
    const file = readFileSync(join(folder, 'k'));
    return offsets(file).some((at) => isModuleAt(file, at));
  };
  /** Regions that the last machine had from an earlier one. */
  let returned = 0;
  const again = (code: CompiledCode | null): string => {
    const m = machine(code);
    for (let turn = 0; turn < TURNS; turn++) m.run(STEPS);
    ({ returned } = m.engine.hot!);
    return m.digest();
  };

  it('is used by the next process, and nothing of the guest is different', async () => {
    const first = await keep();
    const second = open();
    expect(again(second)).toEqual(first);
    expect(second.recalled).toBeGreaterThan(0);
    expect(returned).toBeGreaterThan(0);
    second.save();
    expect(again(open())).toEqual(first);
    expect(again(null)).toEqual(first);
    expect(returned).toBe(0);
  });

  it('is used by engines of the same kind only', async () => {
    await keep();
    const code = open();
    const m = machine(null);
    const kind = `x86-64-v2 ${JSON.stringify(m.memory.map.shape)}`;
    expect(code.translations(kind).data.modules.length).toBeGreaterThan(0);
    expect(code.translations(kind)).toBe(code.translations(kind));
    expect(code.translations(kind.replace('v2', 'v1')).data.modules).toEqual([]);
  });

  it('is compiled anew where V8 or the checksum refuses it', async () => {
    const first = await keep();
    const path = join(folder, 'k');
    const whole = readFileSync(path);
    const damaged = Uint8Array.from(whole);
    for (const at of offsets(whole)) damaged[at]! ^= 1;
    writeFileSync(path, damaged);
    const second = open();
    expect(again(second)).toEqual(first);
    expect(second.recalled).toBe(0);
    expect(returned).toBe(0);
    // both kinds of entries have a head of V8's: changed, with a checksum that fits
    const file = (): CodeFile => new CodeFile(folder, 'k');
    for (const isModule of [true, false]) {
      writeFileSync(path, whole);
      const at = offsets(whole).find((x) => isModuleAt(whole, x) === isModule)!;
      const key = whole.toString('latin1', at - 44, at - 12);
      const changed = file();
      const code = changed.take(key)!;
      code[0]! ^= 1;
      changed.put(key, isModule ? 1 : 0, code);
      changed.save();
      const third = open();
      expect(again(third)).toEqual(first);
      if (isModule) expect(third.recalled).toBe(offsets(whole).length - 2);
      expect(returned > 0).toBe(isModule);
    }
  });

  it('has a file a kernel image', () => {
    const image = new Uint8Array(200_000).fill(1);
    const others = [0, 199_999].map((at) => image.with(at, 2));
    expect(new Set([image, ...others, image.subarray(1)].map(nameOf)).size).toBe(4);
    expect(nameOf(image.slice())).toBe(nameOf(image));
  });
});

/** Where the code of each entry begins. */
function offsets(file: Buffer): number[] {
  const found: number[] = [];
  for (let at = 8; at < file.length; at += 44 + file.readUInt32LE(at + 40)) found.push(at + 44);
  return found;
}
/** True when the entry whose code begins at `at` has functions that V8 optimized: it is a module, not translations. */
const isModuleAt = (file: Buffer, at: number): boolean => file.readUInt32LE(at - 12) > 0;
