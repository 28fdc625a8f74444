import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuestMemory } from '../../src/memory/guest-memory.ts';
import { Cpu, type LinearMemory } from '../../src/x86/cpu.ts';
import { CaseStream } from './campaign.ts';
import { FRAMES, GuestPages, loadState, saveOutcome } from './guest.ts';
import { choicesOf, hostSignature } from './hosts.ts';
import { judge } from './judge.ts';
import { NativeOracle, oracleMissing } from './oracle.ts';
import { MODE_64, MODE_COMPAT, OUTCOME_SIZE, OutcomeRecord, VECTOR_NONE } from './records.ts';

const missing = oracleMissing(MODE_64);

describe.skipIf(missing !== null)(`a case in our machine${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  let oracle: NativeOracle;
  beforeAll(() => {
    oracle = new NativeOracle();
  });
  afterAll(() => oracle.close());

  it.each([
    ['64-bit', MODE_64],
    ['compatibility', MODE_COMPAT],
  ])('goes in and out as silicon sees it when nothing executes but a NOP, %s mode', (_, mode) => {
    const memory = new GuestMemory({ vcpus: 1, slots: FRAMES, frameLimit: FRAMES, recordBytes: 65536 });
    const pages = new GuestPages(memory);
    const cpu = new Cpu(memory.view, memory.map.vcpuBase, 0, {} as LinearMemory);
    const stream = new CaseStream({
      mode,
      seed: 5n,
      forms: /^(Nopw|Nopd|Nopq|Fnop|Movapd_xmm_xmmm128 reg)/,
      encodings: 8,
    });
    const { cases, count, templates } = stream.next(400);
    const host = oracle.run(cases.bytes);
    const scratch = new OutcomeRecord(new Uint8Array(OUTCOME_SIZE));
    const choices = choicesOf(hostSignature());
    let compared = 0;
    for (let i = 0; i < count; i++) {
      const record = cases.at(i);
      if (host.at(i).vector !== VECTOR_NONE || stream.forms.length === 0) continue;
      pages.load(record);
      loadState(cpu, record);
      cpu.rip += BigInt(record.code.length);
      saveOutcome(cpu, pages.dataPage, record, null, scratch);
      const template = templates[record.tag]!;
      // MOVAPD of a register to itself, and the NOPs.
      if (template.form.mnemonic === 'movapd' && template.xmm.length > 1) continue;
      expect(judge(template, record, host, scratch, choices)).toMatchObject({ kind: 'same' });
      compared++;
    }
    expect(compared).toBeGreaterThan(100);
  });
});
