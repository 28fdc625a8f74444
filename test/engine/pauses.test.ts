import { describe, expect, it } from 'vitest';
import { assert } from '../../src/core/assert.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import { decode } from '../../src/x86/decode/decode.ts';
import { programOf } from '../../src/x86/semantics/registry.ts';
import { SEG } from '../../src/x86/state.ts';
import { setFlatSegment } from '../../src/x86/system/descriptors.ts';
import { A, CODE, DATA, parseHex, TestMachine } from './machine.ts';
import { EAGER } from './pair.ts';

const TIERS: readonly EngineOptions[] = [{ tier: 'cold' }, { tier: 'hot', promotion: EAGER }, { tier: 'oracle' }];

/** Where a run of so many steps pauses. */
function stops(m: TestMachine, steps: number): bigint[] {
  const found: bigint[] = [];
  let resume = false;
  for (let left = steps; left > 0; ) {
    const exit = m.engine.run(m.cpu, left, m.platform, resume);
    left -= exit.steps;
    resume = exit.kind === 'pause';
    if (resume) found.push(m.cpu.rip);
    if (exit.kind === 'stop') break;
  }
  return found;
}

describe.each(TIERS)('pauses in the $tier tier', (options) => {
  const paged = (): TestMachine => {
    const m = new TestMachine(options);
    m.code('90'.repeat(0x30), CODE + 0xff0n); // over a page's end
    m.write(CODE + 0x1ff0n, parseHex('90'.repeat(0x30)));
    return m;
  };

  it('happen at an address, not at its offset in other pages', () => {
    const m = paged();
    m.engine.pauseAt(new Set([CODE + 0x1ff4n, CODE + 0xff2n]));
    expect(stops(m, 0x20)).toEqual([CODE + 0xff2n]);
    m.cpu.rip = CODE + 0x1ff0n;
    expect(stops(m, 0x20)).toEqual([CODE + 0x1ff4n]);
  });

  it('happen at each of several addresses of one offset, and nowhere else', () => {
    const m = paged();
    m.engine.pauseAt(new Set([CODE + 0x0ff4n, CODE + 0x1ff4n, CODE + 0x1000n, CODE + 0x8000n]));
    expect(stops(m, 0x20)).toEqual([CODE + 0xff4n, CODE + 0x1000n]);
    m.cpu.rip = CODE + 0x1ff0n;
    expect(stops(m, 0x20)).toEqual([CODE + 0x1ff4n]);
  });

  it('happen before a debug trap where a vCPU that stands there is asked for', () => {
    for (const standing of [new Set<bigint>(), new Set([CODE + 2n])]) {
      const m = paged();
      m.code('90 90 90 90');
      m.cpu.rflags = 0x102;
      m.engine.pauseAt(new Set([CODE + 2n]), standing);
      m.engine.run(m.cpu, 1, m.platform);
      m.cpu.rip = CODE + 2n; // with the trap of the first due
      expect(m.cpu.num('pendingTrap')).not.toBe(0);
      expect(m.engine.isBeforePause(m.cpu)).toBe(false);
      expect(m.engine.run(m.cpu, 1, m.platform).kind).toBe(standing.size === 0 ? 'stop' : 'pause');
    }
  });

  it('happen every time round a loop, and before every iteration of a REP instruction', () => {
    const m = new TestMachine(options);
    m.code('f3 aa eb fc'); // 1: rep stosb; jmp 1
    m.mapNew(DATA, 1);
    m.set('rdi', DATA);
    m.set('rcx', 20n);
    m.engine.pauseAt(new Set([CODE]));
    // 20 iterations, then three times: jmp, a count of 0
    expect(stops(m, 27)).toEqual(Array.from({ length: 23 }, () => CODE));
    expect(m.get('rcx')).toBe(0n);
  });

  it('happen before an instruction that runs over the end of its page, whenever it comes by', () => {
    const m = new TestMachine(options);
    // nop; mov eax, 5 over the end; jmp to the nop
    m.code('90 b8 05 00 00 00 eb f8', CODE + 0xffcn);
    m.engine.pauseAt(new Set([CODE + 0xffdn]));
    expect(stops(m, 30)).toEqual(Array.from({ length: 10 }, () => CODE + 0xffdn));
    m.engine.pauseAt(new Set());
    expect(stops(m, 30)).toEqual([]);
    m.engine.pauseAt(new Set([CODE + 0xffdn]));
    expect(stops(m, 30)).toHaveLength(10);
  });

  it('change nothing: the page of code has not been accessed yet', () => {
    const m = new TestMachine(options);
    m.code('e9 fb 0f 00 00'); // jmp to the next page
    m.write(CODE + 4096n, parseHex('90 90'));
    m.engine.pauseAt(new Set([CODE + 4096n]));
    expect(m.run(2)).toEqual({ kind: 'pause', steps: 1, event: false });
    expect([m.cpu.rip, m.pte(CODE + 4096n) & A]).toEqual([CODE + 4096n, 0n]);
    expect(m.engine.run(m.cpu, 1, m.platform, true)).toEqual({ kind: 'budget', steps: 1 });
    expect(m.pte(CODE + 4096n) & A).toBe(A);
  });

  it('happen where there is no instruction, and where there is no page', () => {
    const m = new TestMachine(options);
    m.code('90 06'); // nop; no instruction in 64-bit mode
    m.platform.resume = (cpu) => {
      cpu.rip = 0x12_3000n;
      return null;
    };
    m.engine.pauseAt(new Set([CODE + 1n, 0x12_3000n]));
    expect(stops(m, 3)).toEqual([CODE + 1n, 0x12_3000n]);
    expect(m.platform.deliveries.map((x) => x.event.vector)).toEqual([6, 14]);
  });

  it('happen at a value of rip in a code segment with a base', () => {
    const m = new TestMachine(options);
    m.code('90 90 90 90 eb fa', CODE + 0x10n); // 1: nop * 4; jmp 1
    m.cpu.set('codeMode', 1);
    setFlatSegment(m.cpu, SEG.cs, 8, 0xc09b);
    setFlatSegment(m.cpu, SEG.ss, 8, 0xc093);
    m.cpu.setSegmentBase(SEG.cs, CODE + 0x10n - 0x123n);
    m.cpu.rip = 0x123n;
    m.engine.pauseAt(new Set([0x125n]));
    expect(stops(m, 10)).toEqual([0x125n, 0x125n]);
  });
});

it('each tier executes the programs that it was given', () => {
  const dec = decode(parseHex('ff c8'), 0, 2, 0, 2, 'x86-64-v2');
  assert(typeof dec !== 'string', 'dec eax');
  for (const options of TIERS) {
    const m = new TestMachine({ ...options, programOf: (form) => programOf(form.name === 'inc' ? dec.form : form) });
    m.code('ff c0'); // inc eax, with the program of dec eax
    m.set('rax', 5n);
    m.run(1);
    expect(m.get('rax')).toBe(4n);
  }
});
