import { describe, expect, it } from 'vitest';
import { CODE, DATA, P, TestMachine, U, W } from '../engine/machine.ts';

/** A machine whose first frames hold the tables given: value by machine address. */
function machine(bytes: 4 | 8, tables: Record<number, bigint>, registers: Record<'cr3' | 'cr4' | 'efer', number>) {
  const m = new TestMachine();
  for (const name of ['cr3', 'cr4', 'efer'] as const) m.cpu.set(name, registers[name]);
  for (const [at, value] of Object.entries(tables))
    if (bytes === 8) m.memory.write64(Number(at), value);
    else m.memory.write32(Number(at), Number(value));
  return m;
}

describe('the entries on the way to an address', () => {
  it('are four in long mode, with no bit set by looking', () => {
    const m = new TestMachine();
    m.mapNew(DATA, 1);
    const before = m.digest();
    const entries = m.engine.mmu.entries(m.cpu, DATA);
    expect(entries.map((x) => [x.level, x.bytes])).toEqual([4, 3, 2, 1].map((level) => [level, 8]));
    expect(entries.at(-1)).toMatchObject({ address: m.entry(DATA), value: m.pte(DATA) });
    for (const { address, value } of entries) expect(m.memory.read64(address)).toBe(value);
    expect(m.digest()).toBe(before);
  });

  it('end with the first that is not present, or that leads to no frame', () => {
    const m = new TestMachine();
    m.mapNew(DATA, 1);
    expect(m.engine.mmu.entries(m.cpu, DATA + 4096n).map((x) => [x.level, x.value & P])).toEqual([
      [4, P],
      [3, P],
      [2, P],
      [1, 0n],
    ]);
    expect(m.engine.mmu.entries(m.cpu, 1n << 40n).map((x) => x.level)).toEqual([4]);
    expect(m.engine.mmu.entries(m.cpu, 1n << 60n)).toEqual([]);
    const [, pointer] = m.engine.mmu.entries(m.cpu, DATA);
    m.memory.write64(pointer!.address, 0x1fff000n | P | W | U);
    expect(m.engine.mmu.entries(m.cpu, DATA).map((x) => x.level)).toEqual([4, 3]);
  });

  it('end with a large page', () => {
    const tables = { 196608: 0x31007n, 200704: 0x32007n, 204816: 0x400087n };
    const m = machine(8, tables, { cr3: 0x30000, cr4: 0x620, efer: 0xd01 });
    expect(m.engine.mmu.entries(m.cpu, CODE + 0x1234n)).toEqual([
      { address: 0x30000, bytes: 8, level: 4, value: 0x31007n },
      { address: 0x31000, bytes: 8, level: 3, value: 0x32007n },
      { address: 0x32010, bytes: 8, level: 2, value: 0x400087n },
    ]);
  });

  it('are three with PAE, whose first table begins anywhere in its page', () => {
    const tables = { 196712: 0x31001n, 200720: 0x32007n, 204800: 0x3f007n };
    const m = machine(8, tables, { cr3: 0x30060, cr4: 0x620, efer: 0 });
    expect(m.engine.mmu.entries(m.cpu, 0x4040_0000n)).toEqual([
      { address: 0x30068, bytes: 8, level: 3, value: 0x31001n },
      { address: 0x31010, bytes: 8, level: 2, value: 0x32007n },
      { address: 0x32000, bytes: 8, level: 1, value: 0x3f007n },
    ]);
  });

  it('are two of four bytes with 32-bit paging, and none without paging', () => {
    const m = machine(4, { 196612: 0x31007n, 200708: 0x8003f007n }, { cr3: 0x30000, cr4: 0x600, efer: 0 });
    expect(m.engine.mmu.entries(m.cpu, 0x40_1000n)).toEqual([
      { address: 0x30004, bytes: 4, level: 2, value: 0x31007n },
      { address: 0x31004, bytes: 4, level: 1, value: 0x8003f007n },
    ]);
    m.cpu.set('cr0', 0x11);
    expect(m.engine.mmu.entries(m.cpu, 0x40_1000n)).toEqual([]);
  });
});
