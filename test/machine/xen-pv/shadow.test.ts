/** A shadow goes the way that the machine then goes, and leaves no trace on it. */

import { describe, expect, it } from 'vitest';
import { recurrenceOf } from '../../../src/machine/xen-pv/hang/recurrence.ts';
import { Shadow } from '../../../src/machine/xen-pv/hang/shadow.ts';
import { xenOf } from '../../../src/machine/xen-pv/xen-of.ts';
import { ROUND_STEPS } from '../../../src/timeline/hang-watch.ts';
import { Run } from '../../../src/timeline/run.ts';
import { endingsGuest, timeTravelGuest } from '../../support/time-travel.ts';

describe('a shadow', () => {
  it.each(['spin', 'count', 'yield', 'watch', 'sum', 'delay 90000000', 'clock 90000000', 'checksum 900', 'verify 900'])(
    'goes as the machine goes: %s',
    (way) => {
      const run = new Run(endingsGuest(way));
      run.runTo(10_007);
      const before = run.stateHash();
      const shadow = new Shadow(run.machine);
      for (let i = 0; i < 300; i++) expect(shadow.step()).toBe(true);
      expect(run.stateHash()).toBe(before);
      run.runTo(run.tick + 300);
      const { cpu } = run.machine;
      expect(shadow.cpu.rip).toBe(cpu.rip);
      expect(shadow.cpu.rflags).toBe(cpu.rflags);
      for (let i = 0; i < 16; i++) expect(shadow.cpu.gpr(i), `register ${i}`).toBe(cpu.gpr(i));
      for (const [frame, page] of shadow.memory.written)
        expect(page).toEqual(run.machine.engine.memory.page(frame).slice());
    },
  );
  it.each(['tick-spin', 'tick-yield-p', 'tick-yield-s', 'tick-spin-pn', 'tick-spin-pns'])(
    'goes through an upcall and back as the machine goes: %s',
    (way) => {
      const run = new Run(endingsGuest(way));
      run.runTo(100_007);
      const { singleshot, periodicNext } = xenOf(run.machine)!.vcpus[0]!;
      const fires = singleshot ?? periodicNext;
      run.runTo(fires - 1);
      const { rip } = run.machine.cpu;
      const before = run.stateHash();
      const shadow = new Shadow(run.machine);
      expect(shadow.step()).toBe(true);
      shadow.fire();
      expect(shadow.upcall()).toBe(true);
      while (!shadow.isUnmasked) expect(shadow.step()).toBe(true);
      for (let i = 0; i < 30; i++) expect(shadow.step()).toBe(true);
      expect(run.stateHash()).toBe(before);
      run.runTo(run.tick + shadow.steps);
      const { cpu } = run.machine;
      expect(Number(cpu.rip - rip)).toBeLessThan(32);
      expect(shadow.cpu.rip).toBe(cpu.rip);
      expect(shadow.cpu.rflags).toBe(cpu.rflags);
      for (let i = 0; i < 16; i++) expect(shadow.cpu.gpr(i), `register ${i}`).toBe(cpu.gpr(i));
      for (const [frame, page] of shadow.memory.written)
        expect(page).toEqual(run.machine.engine.memory.page(frame).slice());
    },
  );
  it('goes no further than it can follow', () => {
    const run = new Run(timeTravelGuest());
    run.runTo(1000);
    const before = run.stateHash();
    const shadow = new Shadow(run.machine);
    while (shadow.steps < 5000 && shadow.step());
    expect(shadow.steps).toBeLessThan(5000);
    expect(run.stateHash()).toBe(before);
    run.runTo(run.tick + shadow.steps);
    expect(run.machine.cpu.rip).toBe(shadow.cpu.rip);
  });
});

describe('a loop', () => {
  it.each([
    ['spin', 'endless'],
    ['count', 'endless'],
    ['yield', 'endless'],
    ['watch', 'endless'],
    ['sum', 'endless'],
    // whatever the clock says
    ['poll 1000', 'endless'],
    ['poll 1000000', 'endless'],
    ['poll-y 30000', 'endless'],
    ['poll-v 1000', 'endless'],
    ['late 900000000', 'waiting'],
    ['late-y 900000000', 'waiting'],
    ['tries 900000', 'waiting'],
    ['tries-y 900000', 'waiting'],
    ['delay 900000000', 'waiting'],
    ['memory-delay 900000000', 'waiting'],
    ['clock 900000000', 'waiting'],
    ['wait 900000000', 'waiting'],
    ['checksum 90000', 'working'],
    ['verify 90000', 'working'],
    ['refault', 'unknown'],
    // beside a timer's handler: by itself or again and again, port by port, back by IRETQ
    ['tick-spin', 'endless'],
    ['tick-yield-p', 'endless'],
    ['tick-yield-s', 'endless'],
    ['tick-spin-pns', 'endless'],
    ['tick-spin-pd', 'endless'],
    ['tick-spin-psd', 'endless'],
    ['tick-raise-pd 900', 'waiting'],
    ['tick-time-pd 900000000', 'waiting'],
    // IRETQ behind a handler that asks for a time: how deep upcalls nest nobody knows
    ['tick-spin-n', 'waiting'],
    ['tick-until 900', 'waiting'],
    ['tick-until-ps 900', 'waiting'],
    ['tick-raise 900', 'waiting'],
    ['tick-raise-p 900', 'waiting'],
    ['tick-smooth-s 900', 'waiting'],
    ['tick-time-p 900000000', 'waiting'],
    ['tick-table 9', 'waiting'],
  ])('is seen wherever it is met: %s is %s', (way, kind) => {
    const run = new Run(endingsGuest(way));
    for (const tick of way.startsWith('tick') ? [20_011, 5_000_021] : [20_011, 50_021, 70_001]) {
      run.runTo(tick);
      const before = run.stateHash();
      expect(recurrenceOf(run.machine, ROUND_STEPS).kind).toBe(kind);
      expect(run.stateHash()).toBe(before);
    }
  });
});
