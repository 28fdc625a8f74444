/** The state hash covers everything: each field of the state outside memory, and each bit of memory. */
import { beforeAll, describe, expect, it } from 'vitest';
import { loopState } from '../../src/machine/machine.ts';
import { Run } from '../../src/timeline/run.ts';
import { CPU_FIELDS } from '../../src/x86/cpu-state.ts';
import { STATE } from '../../src/x86/state.ts';
import { domainMmSchema } from '../../src/xen/domain.ts';
import { pvState } from '../../src/xen/pv/pv.ts';
import { pseudoRandom, timeTravelGuest } from '../support/time-travel.ts';

let run: Run;
let whole: bigint;
beforeAll(() => {
  run = new Run(timeTravelGuest());
  run.runTo(200_000);
  // Lists that this guest leaves empty are to have something to flip as well.
  const { vcpus } = run.xen;
  vcpus[0]!.singleshot ??= 5_000_000;
  whole = run.stateHash();
});

/** Expects another hash after `change`, and the first one again after `undo`. */
function expectSeen(what: string, change: () => void, undo: () => void): void {
  change();
  if (run.stateHash() === whole) expect.fail(`the hash does not see ${what}`);
  undo();
  if (run.stateHash() !== whole) expect.fail(`the hash does not come back after ${what}`);
}

describe('the state hash', () => {
  it('sees every field of the tick loop', () => {
    const { machine } = run;
    const held = { ...machine.loop, ending: { kind: 'crash', message: 'x' }, ended: { kind: 'crash', message: 'y' } };
    const before = machine.loop;
    machine.loop = held;
    const outer = whole;
    whole = run.stateHash();
    const flips = loopState.flips(held, 'loop');
    for (const { path, value } of flips)
      expectSeen(
        path,
        () => {
          machine.loop = value;
        },
        () => {
          machine.loop = held;
        },
      );
    expect(flips.length).toBeGreaterThanOrEqual(9);
    machine.loop = before;
    whole = outer;
    expect(run.stateHash()).toBe(whole);
  });

  it('sees every field of Xen and of memory management', () => {
    const { xen } = run;
    const pv = xen.state;
    const pvFlips = pvState.flips(pv, 'pv');
    for (const { path, value } of pvFlips)
      expectSeen(
        path,
        () => {
          xen.state = value;
        },
        () => {
          xen.state = pv;
        },
      );
    const { domain } = xen.mm;
    const mm = domain.state;
    const mmFlips = domainMmSchema.flips(mm, 'mm');
    for (const { path, value } of mmFlips)
      expectSeen(
        path,
        () => {
          domain.state = value;
        },
        () => {
          domain.state = mm;
        },
      );
    expect(pvFlips.length).toBeGreaterThan(150);
    expect(mmFlips.length).toBeGreaterThan(15);
  });

  it('sees every bit of every architectural element of the vCPU', () => {
    const { cpu } = run.machine;
    const bits = { u8: 8, u16: 16, u32: 32, u64: 64, u128: 128 } as const;
    let flips = 0;
    for (const { name, index } of CPU_FIELDS) {
      if (name === 'rflags') continue;
      const info = STATE[name];
      for (let bit = 0; bit < bits[info.type]; bit++) {
        const at = cpu.base + info.offset + (index * bits[info.type] + bit) / 8;
        const flip = (): void => {
          run.machine.engine.memory.bytes[Math.floor(at)]! ^= 1 << (bit % 8);
        };
        expectSeen(`${name}[${index}] bit ${bit}`, flip, flip);
        flips++;
      }
    }
    for (let bit = 0; bit < 22; bit++) {
      if (bit === 1) continue;
      const { rflags } = cpu;
      expectSeen(
        `rflags bit ${bit}`,
        () => {
          cpu.rflags = rflags ^ (1 << bit);
        },
        () => {
          cpu.rflags = rflags;
        },
      );
    }
    expect(flips).toBeGreaterThan(7_000);
  });

  it('sees every word of the frame table, by the setters that change it', () => {
    const { frames } = run.xen.mm.domain;
    const random = pseudoRandom(4);
    for (let i = 0; i < 500; i++) {
      const frame = random(frames.limit);
      const [type, count, owner, linear] = [
        frames.type(frame),
        frames.count(frame),
        frames.owner(frame),
        frames.linear(frame),
      ];
      const bit = 1 << random(32);
      expectSeen(
        `type of ${frame}`,
        () => frames.setType(frame, type ^ bit),
        () => frames.setType(frame, type),
      );
      expectSeen(
        `count of ${frame}`,
        () => frames.setCount(frame, count ^ bit),
        () => frames.setCount(frame, count),
      );
      expectSeen(
        `owner of ${frame}`,
        () => frames.setOwner(frame, owner ^ bit),
        () => frames.setOwner(frame, owner),
      );
      expectSeen(
        `linear of ${frame}`,
        () => frames.setLinear(frame, linear ^ bit),
        () => frames.setLinear(frame, linear),
      );
    }
  });

  it('sees a mapping taken or dropped', () => {
    const { frames } = run.xen.mm.domain;
    const frame = Array.from({ length: frames.limit }, (_, i) => i).find((f) => frames.takeMapping(f, true))!;
    const taken = run.stateHash();
    expect(taken).not.toBe(whole);
    expect(frames.dropMapping(frame, true)).toBe(true);
    expect(run.stateHash()).toBe(whole);
  });

  it('sees 1,000 random bits of memory', () => {
    const { memory } = run.machine.engine;
    const random = pseudoRandom(5);
    for (let i = 0; i < 1_000; i++) {
      const at = memory.slotFrames[random(memory.slotCount)]! * 4096 + random(4096);
      const flip = (): void => memory.write8(at, memory.read8(at) ^ (1 << (i & 7)));
      expectSeen(`bit ${i & 7} at ${at.toString(16)}`, flip, flip);
    }
  });

  it('is the same when everything is hashed anew', () => {
    const { tracker } = run;
    const { frames } = run.xen.mm.domain;
    tracker.hashes.rebuild();
    frames.dirtyChunks.fill(1);
    expect(run.stateHash()).toBe(whole);
  });
});
