import { describe, expect, it } from 'vitest';
import { COMMON } from '../../src/engine/cold/common.ts';
import { decode } from '../../src/x86/decode/decode.ts';
import { CODE, parseHex, TestMachine } from './machine.ts';

/** Instructions of 8 operations in several sizes and forms, more than 64 handlers, on RAX to RBX. */
const MANY = Array.from({ length: 8 }, (_, op) =>
  ['', '66', '48'].map((size) => {
    const opcode = (low: number): string => (op * 8 + low).toString(16).padStart(2, '0');
    const group = (0xc1 + op * 8).toString(16);
    return `${size}${opcode(1)}d8 ${size}${opcode(3)}ca ${size}83${group}11 ${opcode(0)}d9 80${group}77`;
  }),
)
  .flat()
  .concat(['fec0', '66ffc1', 'ffc2', '48ffc3', 'f6d0', '66f7d1', 'f7d2', '48f7d3', 'f6d8', '66f7d9', 'f7da', '48f7db'])
  .concat(['d0e0', '66d1e1', 'd1e2', '48d1e3', 'd0e8', '66d1e9', 'd1ea', '48d1eb', 'd0f8', '66d1f9', 'd1fa', '48d1fb'])
  .join(' ');

describe('handlers that are common', () => {
  const code = parseHex(COMMON);
  const insns = function* (): Generator<Uint8Array> {
    for (let at = 0; at < code.length; ) {
      const insn = decode(code, at, Math.min(15, code.length - at), 0, 2, 'x86-64-v1');
      if (typeof insn === 'string') throw new Error(`${insn} at ${at}`);
      yield code.subarray(at, at + insn.length);
      at += insn.length;
    }
  };

  it('are listed once, each by an instruction', () => {
    const m = new TestMachine({ tier: 'cold' });
    const { handlers } = m.engine.cold!;
    const indices = [...insns()].map((bytes) => {
      const insn = decode(bytes, 0, bytes.length, 0, 2, 'x86-64-v1');
      return typeof insn === 'string' ? -1 : handlers.indexOf(insn, 2);
    });
    expect(Math.min(...indices)).toBeGreaterThan(7); // below are the engine's own
    expect(new Set(indices).size).toBe(indices.length);
    expect(handlers.count).toBe(indices.length);
  });

  it('come in one module once much has been asked for, and nothing else changes', () => {
    const [cold, oracle] = (['cold', 'oracle'] as const).map((tier) => {
      const m = new TestMachine({ tier });
      m.code(`${MANY} 0f0b`);
      m.set('rax', 0x0123456789abcdefn);
      m.set('rbx', 0x7fffffff00ff0080n);
      return m;
    });
    for (let i = 0; i < 140; i++) {
      expect([cold!.run(1), oracle!.run(1)]).toEqual(Array(2).fill({ kind: 'budget', steps: 1 }));
      expect(cold!.digest()).toBe(oracle!.digest());
    }
    const { handlers } = cold!.engine.cold!;
    expect(handlers.count).toBeGreaterThan([...insns()].length);
    expect(handlers.modules).toBeLessThan(8);
  });
});

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
