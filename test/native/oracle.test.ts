import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CaseStream } from './campaign.ts';
import { describeCase, differences } from './differences.ts';
import { choicesOf, hostSignature } from './hosts.ts';
import { judge } from './judge.ts';
import { NativeOracle, oracleMissing } from './oracle.ts';
import { fillPage, SplitMix64 } from './random.ts';
import {
  CASE_FP,
  CASE_OFFSETS,
  CASE_SIZE,
  CASE_STEP,
  CaseRecord,
  CODE_BASE,
  DATA_BASE,
  MODE_64,
  MODE_COMPAT,
  MODE_PROT16,
  MODE_PROT32,
  OUTCOME_OFFSETS,
  OUTCOME_SIZE,
  OutcomeRecord,
  VECTOR_NONE,
} from './records.ts';

const missing = oracleMissing(MODE_64);
const withoutSegments = oracleMissing(MODE_PROT32);
const MODES: Array<[string, number]> = [
  ['64-bit', MODE_64],
  ['compatibility', MODE_COMPAT],
];
const SEGMENTED: Array<[string, number]> = [
  ['32-bit', MODE_PROT32],
  ['16-bit', MODE_PROT16],
];

/** One case with RAX = 1, RCX = 2, RBX = the data page, RSP in its middle. */
function simple(mode: number, code: number[], flags: number = CASE_FP): CaseRecord {
  const record = new CaseRecord(new Uint8Array(CASE_SIZE));
  record.setGpr(0, 1n);
  record.setGpr(1, 2n);
  record.setGpr(3, BigInt(DATA_BASE));
  record.setGpr(4, BigInt(DATA_BASE + 0x800));
  record.bytes[CASE_OFFSETS.mode] = mode;
  record.bytes[CASE_OFFSETS.flags] = flags;
  record.bytes[CASE_OFFSETS.code_length] = code.length;
  record.bytes.set(code, CASE_OFFSETS.code);
  record.view.setUint16(CASE_OFFSETS.fxsave, 0x37f, true);
  record.view.setUint32(CASE_OFFSETS.fxsave + 24, 0x1f80, true);
  return record;
}

describe('records', () => {
  it('have the offsets of oracle.h', () => {
    const sizes: Record<string, number> = { uint64_t: 8, uint32_t: 4, uint16_t: 2, uint8_t: 1 };
    const header = readFileSync(join(import.meta.dirname, 'oracle.h'), 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
    const layout = (name: string): Record<string, number> => {
      const body = new RegExp(`struct ${name} \\{([^}]*)\\}`).exec(header)![1]!;
      const offsets: Record<string, number> = {};
      let at = 0;
      for (const [, type, names] of body.matchAll(/(uint\d+_t) ([^;]+);/g))
        for (const field of names!.split(',')) {
          const [, id, count] = /(\w+)(?:\[(\w+)\])?/.exec(field)!;
          offsets[id!] = at;
          at += sizes[type!]! * (count === undefined ? 1 : count === 'CHANGES_MAX' ? 68 : Number(count));
        }
      return { ...offsets, size: at };
    };
    expect(layout('case_record')).toMatchObject({ ...CASE_OFFSETS, size: CASE_SIZE });
    expect(layout('outcome_record')).toMatchObject({ ...OUTCOME_OFFSETS, size: OUTCOME_SIZE });
  });

  it('use splitmix64 as published', () => {
    const words = new Uint32Array(6);
    fillPage(words, 0n);
    expect([...new BigUint64Array(words.buffer)]).toEqual([
      0xe220a8397b1dcdafn,
      0x6e789e6aa1b965f4n,
      0x06c45d188009454fn,
    ]);
  });
});

describe.skipIf(missing !== null)(`native oracle${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let oracle: NativeOracle;
  beforeAll(() => {
    oracle = new NativeOracle();
  });
  afterAll(() => oracle.close());

  for (const [name, mode] of MODES) {
    it(`runs ADD, a store and a fault in ${name} mode`, () => {
      const added = oracle.run(simple(mode, [0x01, 0xc8]).bytes);
      expect([added.gpr(0), added.rip, added.vector]).toEqual([3n, BigInt(CODE_BASE + 2), VECTOR_NONE]);
      const stored = oracle.run(simple(mode, [0x88, 0x0b]).bytes);
      expect([stored.changes, stored.changeOffset(0), stored.changeValue(0)]).toEqual([1, 0, 0xe220a8397b1dcd02n]);
      const fetched = oracle.run(simple(mode, [0xff, 0x30]).bytes);
      expect([fetched.vector, fetched.cr2, fetched.error]).toEqual([14, 1n, 4]);
      const undefinedOpcode = oracle.run(simple(mode, [0x0f, 0x0b]).bytes);
      expect([undefinedOpcode.vector, undefinedOpcode.rip]).toEqual([6, BigInt(CODE_BASE)]);
      const jumped = oracle.run(simple(mode, [0xeb, 0x20], CASE_STEP).bytes);
      expect([jumped.rip, jumped.vector, jumped.rflags]).toEqual([BigInt(CODE_BASE + 0x22), VECTOR_NONE, 0x202]);
    });
  }
  for (const [name, mode] of [...MODES, ...SEGMENTED]) {
    const lacks = mode >= MODE_PROT32 ? withoutSegments : missing;
    const title = `gives outcomes in ${name} mode that depend on nothing but the case`;
    it.skipIf(lacks !== null)(`${title}${lacks === null ? '' : ` (skipped: ${lacks})`}`, () => {
      const stream = new CaseStream({ mode, seed: 11n, forms: /./, encodings: 8 });
      const { cases, count, templates } = stream.next(8_000);
      const reversed = new Uint8Array(cases.bytes.length);
      for (let i = 0; i < count; i++)
        reversed.set(cases.bytes.subarray(i * CASE_SIZE, (i + 1) * CASE_SIZE), (count - 1 - i) * CASE_SIZE);
      const forward = oracle.run(cases.bytes);
      const backward = oracle.run(reversed);
      const wrong: string[] = [];
      // silicon beside itself: nothing is passed over for being Intel's
      const choices = choicesOf(hostSignature()) === null ? null : 'AMD';
      for (let i = 0; i < count; i++) {
        const record = cases.at(i);
        const verdict = judge(templates[record.tag]!, record, forward.at(i), backward.at(count - 1 - i), choices);
        if (verdict.kind === 'wrong') wrong.push([describeCase(record), ...verdict.lines].join('\n'));
      }
      expect(wrong).toEqual([]);
    });
  }
});

describe('comparison', () => {
  it('reports every kind of difference', () => {
    const record = simple(MODE_64, [0x90]);
    const same = new OutcomeRecord(new Uint8Array(OUTCOME_SIZE));
    const ignored = {
      rflags: 0,
      fsw: 0,
      ftw: false,
      gprs: 0,
      gprsHigh: 0,
      error: 0,
      cr2: false,
      memory: null,
      memoryMayChange: false,
      approximate: false,
      transcendental: null,
      skip: null,
    };
    const random = new SplitMix64(3n);
    const places = [0, 128, 136, 144, 156, 158, 848, 850, 852, 872, 880 + random.below(10), 1008 + random.below(256)];
    for (const place of places) {
      const other = new OutcomeRecord(same.bytes.slice());
      other.bytes[place] = 1;
      expect(differences(record, same, other, ignored), `byte ${place}`).toHaveLength(1);
    }
  });
});
