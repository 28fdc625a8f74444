/** What the engine keeps is bounded, however much code comes and goes. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { HotTier } from '../../src/engine/hot/hot.ts';
import type { Promotion } from '../../src/engine/hot/promotion.ts';
import { CODE, TestMachine } from './machine.ts';

const EAGER: Promotion = { sampleSteps: 7, samples: 1, misses: 1, batch: 1, patience: 1, sampleHops: 3, hops: 2 };
/** Bytes between functions: heat is counted by so many. */
const SPACING = 256n;

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const hotOf = (m: TestMachine): HotTier => m.engine.hot!;

/** Writes a loop with a number of its own, whose flags are made in one of several ways and wait at every exit; rax counts. */
function plant(m: TestMachine, at: bigint, number: number): void {
  // 1: add rax, 1; op ecx, number; jmp 1, with op one of add, or, adc, sbb, and, sub, xor, cmp
  const op = 0xc1 | ((number & 7) << 3);
  const imm = [number, number >> 8, number >> 16, number >> 24].map((x) => x & 255);
  m.write(at, new Uint8Array([0x48, 0x83, 0xc0, 1, 0x81, op, ...imm, 0xeb, 0xf4]));
}
function runAt(m: TestMachine, at: bigint): void {
  m.cpu.rip = at;
  const before = m.get('rax');
  m.run(90);
  expect(m.get('rax') - before).toBe(30n);
}

/** Counts the instances of modules with regions that have not been collected. */
function countInstances(): () => Promise<number> {
  const made: Array<WeakRef<WebAssembly.Instance>> = [];
  class Instance extends WebAssembly.Instance {
    constructor(module: WebAssembly.Module, imports?: ConstructorParameters<typeof WebAssembly.Instance>[1]) {
      super(module, imports);
      if (Object.keys(this.exports).some((x) => x.startsWith('region'))) made.push(new WeakRef(this));
    }
  }
  vi.stubGlobal('WebAssembly', { ...wasm(), Instance });
  return async () => {
    // a reference made or read in this turn keeps its target alive until the next one
    await nextTurn();
    gc();
    return made.filter((x) => x.deref() !== undefined).length;
  };
}
const wasm = (): Record<string, unknown> =>
  Object.fromEntries(Object.getOwnPropertyNames(WebAssembly).map((x) => [x, Reflect.get(WebAssembly, x)]));

describe('memory of the engine', () => {
  afterEach(() => void vi.unstubAllGlobals());

  it('keeps nothing of regions whose code has changed, and asks for a collection of dead modules', async () => {
    const alive = countInstances();
    let asked = 0;
    const m = new TestMachine({ tier: 'hot', promotion: EAGER, host: { collectGarbage: () => asked++ } });
    const pages = 256;
    m.mapNew(CODE, pages);
    let number = 0;
    const churn = (rounds: number): void => {
      for (let i = 0; i < rounds; i++, number++) {
        const at = CODE + BigInt(number % pages) * 4096n;
        plant(m, at, number);
        runAt(m, at);
      }
    };
    churn(512);
    const hot = hotOf(m);
    const { kept } = hot;
    expect(asked).toBe(0);
    churn(2048);
    expect(hot.evictions).toBeGreaterThan(1500);
    expect(asked).toBe(Math.floor(hot.evictions / 1024));
    expect(hot.kept).toBeLessThanOrEqual(kept);
    expect(hot.live).toBeLessThanOrEqual(pages);
    expect(await alive()).toBeLessThanOrEqual(hot.liveModules);
    // the lot can go
    m.engine.reset();
    expect(hot.kept).toBe(0);
    expect(await alive()).toBe(0);
  });

  it('drops the oldest modules when there are too many', () => {
    const m = new TestMachine({ tier: 'hot', promotion: EAGER });
    const hot = hotOf(m);
    m.mapNew(CODE, 160);
    let most = 0;
    for (let i = 0; i < 2300; i++) plant(m, CODE + SPACING * BigInt(i), i);
    for (let i = 0; i < 2300; i++) {
      runAt(m, CODE + SPACING * BigInt(i));
      most = Math.max(most, hot.liveModules);
    }
    expect(hot.compiled).toBeGreaterThan(2200);
    expect(most).toBe(2048);
    // those that were dropped are translated again
    const { compiled } = hot;
    runAt(m, CODE);
    runAt(m, CODE);
    expect(hot.compiled).toBe(compiled + 1);
  });

  it('empties the area of records when 32 MiB of them are stale', () => {
    const m = new TestMachine({ tier: 'cold', recordBytes: 96 << 20 });
    m.mapNew(CODE, 1);
    const { cache } = m.engine.cold!;
    const generation = cache.generation;
    // 4091 of NOP (or XCHG EBX, EAX: another instruction of one byte), then jmp to the start
    const code = new Uint8Array([...new Array<number>(4091).fill(0x90), 0xe9, 0x00, 0xf0, 0xff, 0xff]);
    let most = 0;
    for (let i = 0; i < 400; i++) {
      code[i] = 0x93;
      m.write(CODE, code);
      m.cpu.rip = CODE;
      expect(m.run(4092)).toEqual({ kind: 'budget', steps: 4092 });
      expect(m.cpu.rip).toBe(CODE);
      most = Math.max(most, cache.used);
    }
    expect(cache.generation - generation).toBeGreaterThanOrEqual(2);
    expect(most).toBeGreaterThan(32 << 20);
    expect(most).toBeLessThan(35 << 20);
  });
});
