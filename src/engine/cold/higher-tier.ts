/** What the cold tier asks of a tier above it, which executes code that it has been told of and takes the place of its records. */
import type { CodeKey } from '../../x86/code-key.ts';
import type { Cpu } from '../../x86/cpu.ts';

/** A page of code as a vCPU sees it. */
export interface CodePage {
  /** Linear page number, of which only the distance to the other pages counts. */
  readonly number: number;
  readonly slot: number;
  /** Address of its table of records. */
  readonly table: number;
}

export interface HigherTier {
  /** Steps of the cold tier between two samples, and ways from region to region between two hops that are told. */
  readonly promotion: { readonly sampleSteps: number; readonly sampleHops: number };
  /** Steps that both tiers have taken so far, whichever vCPU's. The cold tier counts them. */
  clock: number;
  /** The cold tier was found at an offset of a page of code. */
  sample(cpu: Cpu, code: CodeKey, page: CodePage, offset: number): void;
  /** A region (by its index) was left for another, to be entered at `record`. */
  hop(cpu: Cpu, from: number, record: number): void;
  /** A span of accesses, of so many bytes, was refused at an offset of a page of code. */
  refuse(cpu: Cpu, code: CodeKey, slot: number, offset: number, bytes: number): void;
  /** Handler of a record as it was before it became an entry. */
  handlerOf(record: number): number;
}
