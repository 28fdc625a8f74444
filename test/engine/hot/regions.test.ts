/** Regions that overlap: the instructions of a block may run into those of another region. */
import { describe, expect, it } from 'vitest';
import { HANDLER } from '../../../src/engine/cold/exits.ts';
import { type LiveModule, Regions } from '../../../src/engine/hot/regions.ts';
import { ENTRY, type TranslatedModule, type Translation } from '../../../src/engine/hot/translations.ts';
import { CODE, TestMachine } from '../machine.ts';

const LONG_MODE = 2;

/** A machine that has executed nop; nop; inc eax; jmp back, and the regions of an engine beside it. */
function prepare() {
  const m = new TestMachine({ tier: 'cold' });
  m.code('90  90  ff c0  eb fa');
  m.run(20);
  const { cache } = m.engine.cold!;
  const slot = m.memory.frameSlots[Math.floor(m.pa(CODE) / 4096)]!;
  const regions = new Regions(m.memory, cache, new WebAssembly.Table({ element: 'anyfunc', initial: 8 }));
  const record = (offset: number): number => cache.recordAt(cache.tableOf(slot, LONG_MODE), offset);
  const isEntered = (offset: number): boolean => m.memory.words[record(offset) >>> 2] === HANDLER.hot;
  /** A region of the instructions from one offset to the end, entered at its start. */
  const moduleFrom = (first: number): TranslatedModule => {
    const translation: Translation = {
      code: LONG_MODE,
      pages: [{ number: Number(CODE >> 12n), slot }],
      seeds: [{ page: 0, offset: first }],
      spanBytes: 0,
      blocks: Uint16Array.of(first | ENTRY),
      places: Uint16Array.from([0, 1, 2, 4].filter((x) => x >= first)),
      ranges: Uint16Array.of(0, first, 6),
      text: m.memory.readBytes(m.pa(CODE) + first, 6 - first),
    };
    return { bytes: new Uint8Array(0), helpers: [], regions: [translation] };
  };
  const load = (module: TranslatedModule): LiveModule => regions.load(module, () => [null]);
  return { m, slot, regions, isEntered, moduleFrom, load };
}

describe('regions', () => {
  it('that lose their instructions to another one are still there when that goes', () => {
    const { slot, regions, isEntered, moduleFrom, load } = prepare();
    const [first, second] = [moduleFrom(1), moduleFrom(0)];
    const live = load(first);
    const region = regions.install(live, 0);
    expect(regions.at(slot, LONG_MODE, 2)).toBe(region);
    const other = regions.install(load(second), 0);
    expect(regions.at(slot, LONG_MODE, 2)).toBe(other);
    regions.drop(other);
    expect(regions.at(slot, LONG_MODE, 2)).toBeUndefined();
    expect(regions.of(first, 0)).toBe(region);
    expect(isEntered(1)).toBe(true);
    expect(() => regions.install(live, 0)).toThrow('installed once');
    regions.drop(region);
    expect(isEntered(1)).toBe(false);
    expect([regions.size, regions.indices, regions.steps, regions.kept, regions.dead]).toEqual([0, 0, 0, 0, 2]);
  });

  it('keep what is theirs when one goes whose instructions they have taken', () => {
    const { slot, regions, moduleFrom, load } = prepare();
    const earlier = regions.install(load(moduleFrom(1)), 0);
    const later = regions.install(load(moduleFrom(0)), 0);
    regions.drop(earlier);
    expect(regions.at(slot, LONG_MODE, 2)).toBe(later);
    expect(regions.fits(moduleFrom(1).regions[0]!)).toBe(false);
    regions.drop(later);
    expect(regions.fits(moduleFrom(1).regions[0]!)).toBe(true);
  });

  it('fit the same bytes only', () => {
    const { m, regions, moduleFrom } = prepare();
    const { regions: translations } = moduleFrom(1);
    m.write(CODE + 5n, new Uint8Array([0xfb]));
    expect(regions.fits(translations[0]!)).toBe(false);
    m.write(CODE + 5n, new Uint8Array([0xfa]));
    expect(regions.fits(translations[0]!)).toBe(true);
  });
});
