/** What a machine is made of: everything that decides a run beside its input; a recording's header and images say it. */
import { EmulatorError } from '../core/errors.ts';
import type { Inflate } from '../core/inflate.ts';
import type { CpuPolicy } from '../x86/form.ts';

export interface MachineConfig {
  /** Id of the platform. */
  readonly platform: string;
  /** By name, as the platform wants them (PlatformKind.images). */
  readonly images: Readonly<Record<string, Uint8Array>>;
  readonly commandLine: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
  /** Which instructions exist and what CPUID says of them. */
  readonly cpuPolicy: CpuPolicy;
  readonly tscKhz: number;
  /** Seconds since 1970 at system time 0. */
  readonly epochSeconds: number;
  /** How the host unpacks, which decides nothing. */
  readonly inflate?: Inflate;
}

export const DEFAULT_TSC_KHZ = 1_000_000;
/** 2026-01-01 00:00:00 UTC: the wall clock of a run unless asked otherwise. */
export const DEFAULT_EPOCH_SECONDS = 1_767_225_600;

/** The image of a name; E_IMAGE where there is none. */
export function imageOf({ images }: MachineConfig, name: string): Uint8Array {
  const image = images[name];
  if (image === undefined) throw new EmulatorError('E_IMAGE', `there is no image ${name}`);
  return image;
}
