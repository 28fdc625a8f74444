/** Handlers that were compiled before: a machine that runs them does what a machine does that generates its own. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepHandlers, loadHandlers } from '../../src/cli/local/prepared-handlers.ts';
import { type PreparedHandlers, prepareHandlers } from '../../src/engine/cold/prepared.ts';
import { CODE, DATA, TestMachine } from '../engine/machine.ts';

/** mov rdx, [rbx]; add rax, rdx; add [rbx+8], rax; inc rcx; jmp: forms of 64-bit mode. */
const LOOP = new Uint8Array([0x48, 0x8b, 0x13, 0x48, 0x01, 0xd0, 0x48, 0x01, 0x43, 0x08, 0x48, 0xff, 0xc1, 0xeb, 0xf1]);

/** A machine that has run the loop. */
function ran(prepared: PreparedHandlers | null): TestMachine {
  const m = new TestMachine({ tier: 'cold', host: { prepared } });
  m.mapNew(CODE, 1);
  m.mapNew(DATA, 1);
  m.write(CODE, LOOP);
  m.write(DATA, new Uint8Array([3]));
  m.set('rbx', DATA);
  m.run(12_345);
  return m;
}

describe('handlers that are kept', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'handlers-'));
    expect(keepHandlers(folder, prepareHandlers())).toBe(true);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are used by the next process, and nothing of the guest is different', () => {
    const own = ran(null);
    const kept = ran(loadHandlers(folder));
    expect(kept.digest()).toEqual(own.digest());
    expect(own.engine.cold!.handlers.count).toBeGreaterThan(0);
    expect(kept.engine.cold!.handlers.count).toBe(0);
  });

  it('are not there where V8 or the checksum refuses them, or nothing was kept', () => {
    const path = join(folder, readdirSync(folder)[0]!);
    const whole = readFileSync(path);
    for (const at of [8, 60, whole.length >> 1, whole.length - 1]) {
      const damaged = Uint8Array.from(whole);
      damaged[at]! ^= 1;
      writeFileSync(path, damaged);
      expect(loadHandlers(folder)).toBeNull();
    }
    writeFileSync(path, whole.subarray(0, 1000));
    expect(loadHandlers(folder)).toBeNull();
    expect(loadHandlers(join(folder, 'none'))).toBeNull();
    writeFileSync(path, whole);
    expect(loadHandlers(folder)).not.toBeNull();
  });
});
