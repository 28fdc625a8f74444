import { describe, expect, it } from 'vitest';
import { CODE, parseHex, TestMachine } from './machine.ts';

describe('pauses', () => {
  const paged = (): TestMachine => {
    const m = new TestMachine({ tier: 'cold' });
    m.code('90'.repeat(0x30), CODE + 0xff0n); // over a page's end
    m.write(CODE + 0x1ff0n, parseHex('90'.repeat(0x30)));
    return m;
  };
  const stops = (m: TestMachine, steps: number): bigint[] => {
    const found: bigint[] = [];
    let resume = false;
    for (let left = steps; left > 0; ) {
      const exit = m.engine.run(m.cpu, left, m.platform, resume);
      left -= exit.steps;
      resume = exit.kind === 'pause';
      if (resume) found.push(m.cpu.rip);
    }
    return found;
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
});
