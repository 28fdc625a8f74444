/**
 * What a recording says of its machine and its end, before anybody acts on it: its bytes may be whole and still be anybody's.
 */
import { EmulatorError } from '../core/errors.ts';
import type { Tick } from '../core/units.ts';
import { NS_PER_TICK } from '../machine/clock.ts';
import { PLATFORMS } from '../machine/platforms.ts';
import type { Verdict } from '../x86/seam.ts';
import { EDITED_SETTING } from './edit.ts';
import type { RecordingEnd, RecordingHeader } from './trace-store.ts';

/** A JavaScript Date reaches no further (ECMA-262, time values). */
const CREATED_MS_MAX = 8.64e15;
/** A terahertz. */
const TSC_KHZ_MAX = 1e9;
/** The last second of the year 9999. */
const EPOCH_SECONDS_MAX = 253_402_300_799;

const VERDICTS: Readonly<Record<Verdict['kind'], true>> = {
  poweroff: true,
  reboot: true,
  panic: true,
  crash: true,
  'triple-fault': true,
  hang: true,
  unimplemented: true,
  limit: true,
  stopped: true,
};

function need(condition: boolean, what: string): void {
  if (!condition) throw new EmulatorError('E_RECORDING', `${what}, which no recorder writes`);
}
const isWhole = (value: number, least: number, most: number): boolean =>
  Number.isSafeInteger(value) && value >= least && value <= most;

/** E_RECORDING where a header describes what no machine was made from. */
export function checkHeader(header: RecordingHeader): void {
  const { createdMs, nsPerTick, tscKhz, epochSeconds, settings } = header;
  const says = (name: string, value: number | string): string => `the header says ${name}=${JSON.stringify(value)}`;
  need(Number.isFinite(createdMs) && Math.abs(createdMs) <= CREATED_MS_MAX, `the header says createdMs=${createdMs}`);
  need(nsPerTick === NS_PER_TICK, `the header says nsPerTick=${nsPerTick}`);
  need(isWhole(tscKhz, 1, TSC_KHZ_MAX), says('tscKhz', tscKhz));
  need(isWhole(epochSeconds, 0, EPOCH_SECONDS_MAX), says('epochSeconds', epochSeconds));
  // a platform of another version is refused where the machine is to be built
  const problem = PLATFORMS.get(settings.platform ?? '')?.problem(header) ?? null;
  need(problem === null, `the header describes no machine: ${problem}`);
  const edited = settings[EDITED_SETTING];
  need(
    edited === undefined || (/^\d+$/.test(edited) && isWhole(Number(edited), 0, Number.MAX_SAFE_INTEGER)),
    says(EDITED_SETTING, edited ?? ''),
  );
}

/** E_RECORDING where an end record is not one of a journal that ends at `lastTick`. */
export function checkEnd(end: RecordingEnd, header: RecordingHeader, lastTick: Tick): void {
  const { tick, verdict, place } = end;
  need(Object.hasOwn(VERDICTS, verdict), `the end record says verdict=${JSON.stringify(verdict)}`);
  need(tick === lastTick, `the end record stands at tick ${tick}, the journal ends at ${lastTick}`);
  need(place.tick <= tick, `the end record places the verdict at tick ${place.tick} of ${tick}`);
  need(place.vcpu < header.vcpus, `the end record places the verdict on vCPU ${place.vcpu} of ${header.vcpus}`);
}
