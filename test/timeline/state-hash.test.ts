/** The state hash covers everything: each field of the state outside memory, and each bit of memory. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Schema } from '../../src/core/schema.ts';
import { type Console, consoleState } from '../../src/devices/console/console.ts';
import { type XenStore, xenStoreState } from '../../src/devices/xenstore/xenstore.ts';
import { loopState } from '../../src/machine/machine.ts';
import { xenOf } from '../../src/machine/xen-pv/xen-of.ts';
import { Run } from '../../src/timeline/run.ts';
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
  const { vcpus } = xenOf(run.machine)!;
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

  /** Changes every field of what `holder` has under `schema`, one at a time; how many there are. */
  function flipEach<T>(name: string, schema: Schema<T>, holder: { state: T }): number {
    const { state } = holder;
    const flips = schema.flips(state, name);
    for (const { path, value } of flips)
      expectSeen(
        path,
        () => {
          holder.state = value;
        },
        () => {
          holder.state = state;
        },
      );
    return flips.length;
  }
  it('sees every field of Xen, of its devices and of memory management', () => {
    const xen = xenOf(run.machine)!;
    const [xenstore, console] = xen.backends.map(({ device }) => device);
    expect(flipEach('pv', pvState, xen)).toBeGreaterThan(40);
    expect(flipEach('mm', domainMmSchema, xen.mm.domain)).toBeGreaterThan(15);
    expect(flipEach('console', consoleState, console as Console)).toBeGreaterThanOrEqual(4);
    expect(flipEach('xenstore', xenStoreState, xenstore as XenStore)).toBeGreaterThan(100);
  });

  it('sees every bit of every architectural element of the vCPU', () => {
    const { cpu } = run.machine;
    let flips = 0;
    for (const [name, info] of Object.entries(STATE)) {
      if (!info.architectural || name === 'rflags') continue;
      for (let bit = 0; bit < info.count * info.width * 8; bit++) {
        const at = cpu.base + info.offset + (bit >> 3);
        const flip = (): void => {
          run.machine.engine.memory.bytes[at]! ^= 1 << (bit & 7);
        };
        expectSeen(`${name} bit ${bit}`, flip, flip);
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
    const { frames } = xenOf(run.machine)!.mm.domain;
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
    const { frames } = xenOf(run.machine)!.mm.domain;
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
    const { frames } = xenOf(run.machine)!.mm.domain;
    tracker.hashes.rebuild();
    frames.dirtyChunks.fill(1);
    expect(run.stateHash()).toBe(whole);
  });
});
