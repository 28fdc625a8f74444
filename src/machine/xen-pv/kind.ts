/** Xen PV as a kind of platform. */

import { memoryProblem } from '../../core/domain-memory.ts';
import { EmulatorError } from '../../core/errors.ts';
import { MAX_GUEST_CMDLINE } from '../../xen/abi/structures.ts';
import { unpackKernel } from '../../xen/loader/payload.ts';
import type { PlatformKind } from '../platform-kind.ts';
import { buildPvMachine } from './build.ts';

const vcpusProblem = (vcpus: number): string | null =>
  vcpus === 1 ? null : `a domain of ${vcpus} vCPUs is not supported yet: use one`;
function commandLineProblem(commandLine: string): string | null {
  const { length } = new TextEncoder().encode(commandLine);
  return length < MAX_GUEST_CMDLINE ? null : `a command line of ${length} bytes, Xen passes ${MAX_GUEST_CMDLINE - 1}`;
}

export const XEN_PV: PlatformKind = {
  id: 'xen-pv',
  images: ['kernel', 'initrd'],
  problem: ({ memoryBytes, vcpus, commandLine }) =>
    memoryProblem(memoryBytes) ?? vcpusProblem(vcpus) ?? commandLineProblem(commandLine),
  unpack: (kernel, inflate) => unpackKernel(kernel, inflate).elf,
  build(config, engine) {
    const problem = vcpusProblem(config.vcpus);
    if (problem !== null) throw new EmulatorError('E_USAGE', problem);
    return buildPvMachine(config, { engine });
  },
};
