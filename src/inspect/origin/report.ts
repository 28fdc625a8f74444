/** The answer of `origin` as data, in the shape that `--json` prints. */
import type { Tick, VirtAddr } from '../../core/units.ts';
import type { Origin, OriginStep, Root } from './origin.ts';

export interface OriginReport {
  /** The place in words. */
  readonly place: string;
  /** Linear address of memory; null of registers, and where only the machine address is known. */
  readonly address: VirtAddr | null;
  readonly machineAddress: number | null;
  readonly bytes: number;
  readonly value: bigint;
  /** The state that has the value there. */
  readonly tick: Tick;
  /** The step that wrote it; null at a root that no step made. */
  readonly step: OriginStep | null;
  /** The step wrote what was there already. */
  readonly unchanged: boolean;
  readonly root: Root | null;
  /** What the step made it of; none where that is told above already. */
  readonly inputs: readonly OriginReport[];
  readonly above: boolean;
}

export const originReport = ({ bytes, inputs, ...rest }: Origin): OriginReport => ({
  ...rest,
  machineAddress: bytes.space === 'memory' ? bytes.address : null,
  bytes: bytes.bytes,
  inputs: inputs.map(originReport),
});

/** Provenance and the like in words. */
export function rootText(root: Root): string {
  switch (root.kind) {
    case 'constant':
      return 'a constant of the instruction';
    case 'built':
      return root.provenance.what === 'initial registers'
        ? 'a register as the vCPU starts'
        : `byte ${root.provenance.offset} of the ${root.provenance.what}`;
    case 'never written':
      return root.provenance === null ? 'never written' : `never written: the image's .bss`;
    case 'input':
      return `input for the ${root.device}`;
    case 'made':
      return `made by ${root.by}`;
    case 'limit':
      return '(not looked further: --values)';
  }
}
