/** The tick loop around a slice: what an event inside of it brings about happens at the same tick as behind it. */
import { describe, expect, it } from 'vitest';
import { EventStream } from '../../src/core/event-stream.ts';
import { Machine, SLICE_TICKS } from '../../src/machine/machine.ts';
import type { MachineEvent, MachinePlatform } from '../../src/machine/platform.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import type { Outcome } from '../../src/x86/seam.ts';
import { TestMachine, TestPlatform } from '../engine/machine.ts';

const PORT = { timer: 1, upcall: 2, input: 3, sleep: 4, nothing: 5, work: 6 } as const;
const WORK = 100;
const TIMER_NS = 4;

/** A platform whose ports set a timer, make an upcall due, bring input or put the vCPU to sleep until the timer. */
class Ports extends TestPlatform implements MachinePlatform {
  readonly sections = [];
  readonly work = { total: 0 };
  readonly ended = null;
  readonly stream = new EventStream<MachineEvent>();
  readonly pollTicks = SLICE_TICKS;
  readonly seen: string[] = [];
  machine: Machine | null = null;
  #deadline = Number.POSITIVE_INFINITY;
  #pending = false;
  #asleep = false;
  waiting = false;

  attach(): void {}
  restored(): void {}
  runnable(): boolean {
    return !this.#asleep;
  }
  nextDeadlineNs(): number {
    return this.#deadline;
  }
  expire(ns: number): string[] {
    this.seen.push(`timer at ${ns} ns, tick ${this.machine!.tick}`);
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#asleep = false;
    return ['timer'];
  }
  hasPending(): boolean {
    return this.#pending;
  }
  deliverPending(): { outcome: Outcome } | null {
    if (!this.#pending) return null;
    this.#pending = false;
    this.seen.push(`upcall at ${this.machine!.tick}`);
    return { outcome: null };
  }
  switched(): void {}
  input(): void {
    this.seen.push(`input at ${this.machine!.tick}`);
  }
  override portOut(_cpu?: Cpu, port?: number): Outcome {
    if (port === PORT.timer) this.#deadline = this.machine!.now() + TIMER_NS;
    if (port === PORT.sleep) this.#asleep = true;
    if (port === PORT.upcall) this.#pending = true;
    if (port === PORT.input) this.waiting = true;
    if (port === PORT.work) this.work.total += WORK;
    return null;
  }
}

/** Runs to `ticks` code given as hex; what the platform saw and the tick. */
function run(hex: string, ticks: number): string[] {
  const test = new TestMachine();
  test.code(hex);
  const platform = new Ports();
  const machine = new Machine(test.engine, platform, 1_000_000);
  platform.machine = machine;
  machine.door = {
    take: (tick) => {
      const payload = { tick, kind: 'input', device: 'console', data: new Uint8Array(1) } as const;
      const taken = platform.waiting ? [payload] : [];
      platform.waiting = false;
      return taken;
    },
    nextPayload: () => (platform.waiting ? 0 : Number.POSITIVE_INFINITY),
    decided: () => {},
  };
  expect(machine.runTo(ticks)).toEqual({ kind: 'limit' });
  expect(machine.tick).toBe(ticks);
  return platform.seen;
}
const NOPS = '90 90 90 90 90 90 90 90';

describe('an event inside a slice', () => {
  it('sets a timer, which fires at its tick', () => {
    expect(run(`90 e6 01 ${NOPS}`, 9)).toEqual(['timer at 5 ns, tick 5']);
  });
  it('makes an upcall due, which is taken before the next step', () => {
    expect(run(`90 e6 02 ${NOPS}`, 9)).toEqual(['upcall at 2']);
  });
  it('brings input, which arrives before the next step', () => {
    expect(run(`90 e6 03 ${NOPS}`, 9)).toEqual(['input at 2']);
  });
  it('puts the vCPU to sleep: time goes on to the timer in one step', () => {
    expect(run(`e6 01 e6 04 ${NOPS}`, 9)).toEqual(['timer at 4 ns, tick 3']);
  });
  it('with nothing to do goes on', () => {
    expect(run(`e6 05 e6 05 90 e6 05 e6 02 ${NOPS}`, 9)).toEqual(['upcall at 5']);
  });
});

describe('a limit of work', () => {
  const machineOf = (hex: string): Machine => {
    const test = new TestMachine();
    test.code(hex);
    const platform = new Ports();
    const machine = new Machine(test.engine, platform, 1_000_000);
    platform.machine = machine;
    return machine;
  };
  it('brings a run back before its tick, in whatever the step that reached it', () => {
    const machine = machineOf(`e6 06 90 e6 06 90 90 e6 06 ${NOPS}`);
    expect(machine.runTo(9, { workLimit: 2 * WORK })).toEqual({ kind: 'limit' });
    expect(machine.tick).toBe(3);
    expect(machine.runTo(9)).toEqual({ kind: 'limit' });
    expect(machine.tick).toBe(9);
  });
  it('leaves the state that a run to that tick leaves', () => {
    const cut = machineOf(`e6 06 90 e6 06 ${NOPS}`);
    const whole = machineOf(`e6 06 90 e6 06 ${NOPS}`);
    for (const tick of [1, 3]) {
      cut.runTo(9, { workLimit: 1 });
      whole.runTo(tick);
      expect([cut.loop, cut.cpu.rip]).toEqual([whole.loop, whole.cpu.rip]);
    }
  });
});

describe('a host that wants to be heard', () => {
  const spinning = (): Machine => {
    const test = new TestMachine();
    test.code('eb fe');
    const platform = new Ports();
    platform.machine = new Machine(test.engine, platform, 1_000_000);
    return platform.machine;
  };
  it('is, within so many ticks, each time a step further', () => {
    const machine = spinning();
    machine.wanted = () => true;
    for (const ticks of [1, 2, 3]) {
      expect(machine.runTo(1e9)).toEqual({ kind: 'limit' });
      expect(machine.tick).toBe(ticks * SLICE_TICKS);
    }
  });
  it('is asked once in so many ticks, and not obeyed when it does not want', () => {
    const machine = spinning();
    let asked = 0;
    machine.wanted = () => {
      asked++;
      return false;
    };
    expect(machine.runTo(10 * SLICE_TICKS)).toEqual({ kind: 'limit' });
    expect([machine.tick, asked]).toEqual([10 * SLICE_TICKS, 10]);
  });
});
