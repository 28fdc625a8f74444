/** Several vCPUs of a PV domain in the machine's loop: what the scheduler socket asks of the Xen platform. */
import { describe, expect, test } from 'vitest';
import { buildPvMachine } from '../../../src/machine/xen-pv/build.ts';
import { decodeCpu, encodeCpu } from '../../../src/x86/cpu-state.ts';
import { RUNSTATE } from '../../../src/xen/abi/numbers.ts';
import { wake } from '../../../src/xen/pv/scheduler.ts';
import { CODE, hexBytes, imageConfig } from '../../support/pv-guest.ts';

/** A domain of two vCPUs that go round the same loop, the second as the first was at the start where it is `up`. */
function twoVcpus(up: boolean) {
  const { machine, xen } = buildPvMachine({ ...imageConfig(), vcpus: 2 });
  const [first, second] = machine.engine.cpus;
  const at = xen.mmu.translate(first!, CODE)!;
  xen.memory.writeBytes(at, hexBytes('48 ff c0 eb fb')); // 1: inc rax; jmp 1
  decodeCpu(second!, encodeCpu(first!));
  const v = xen.vcpus[1]!;
  v.kernelTable = xen.vcpus[0]!.kernelTable;
  v.initialised = up;
  v.down = !up;
  v.runstate = { state: up ? RUNSTATE.runnable : RUNSTATE.offline, entryTime: 0, time: [0, 0, 0, 0] };
  xen.restored();
  machine.runTo(0);
  return { machine, xen, first: first!, second: second!, v, quantum: machine.loop.turn.left };
}

describe('two vCPUs of a domain', () => {
  test('[D-40] take turns, and their runstates say so', () => {
    const { machine, xen, first, second, quantum } = twoVcpus(true);
    machine.runTo(10 * quantum);
    expect([first.steps, second.steps]).toEqual([5 * quantum, 5 * quantum]);
    machine.runTo(10 * quantum + 1);
    const running = machine.loop.turn.vcpu;
    expect(xen.vcpus.map(({ runstate }, id) => runstate.state === RUNSTATE.running && id === running)).toEqual([
      running === 0,
      running === 1,
    ]);
    expect(xen.vcpus[1 - running]!.runstate.state).toBe(RUNSTATE.runnable);
    const times = xen.vcpus.map(({ runstate: { time, state, entryTime } }) =>
      time.map((spent, i) => (i === state ? spent + machine.now() - entryTime : spent)),
    );
    // both have run for as long, and waited for the other as long
    for (const time of times) expect(time.reduce((sum, spent) => sum + spent)).toBe(10 * quantum + 1);
    expect(Math.abs(times[0]![RUNSTATE.running]! - times[1]![RUNSTATE.running]!)).toBeLessThanOrEqual(1);
  });
  test('[D-37] one that wakes can run, and runs when its turn comes', () => {
    const { machine, xen, v, quantum } = twoVcpus(true);
    v.blocked = true;
    v.runstate.state = RUNSTATE.blocked;
    machine.runTo(quantum / 2);
    wake(xen, 1);
    expect(v.runstate.state).toBe(RUNSTATE.runnable);
    machine.runTo(quantum + 1);
    expect([machine.loop.turn.vcpu, v.runstate.state]).toEqual([1, RUNSTATE.running]);
  });
  test('[D-39] no timer of one that is down fires, nor keeps the machine from idling on', () => {
    const { machine, xen, v } = twoVcpus(false);
    v.singleshot = 50;
    v.periodicPeriod = 10;
    v.periodicNext = 10;
    expect(xen.nextDeadlineNs()).toBeGreaterThan(200);
    machine.runTo(200);
    expect([v.singleshot, v.periodicNext]).toEqual([50, 10]);
  });
});
