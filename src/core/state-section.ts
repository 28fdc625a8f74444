/**
 * A section of the machine's state: one component's, as canonical bytes under a name. Snapshots keep sections, hashes cover them.
 */
import { decode, encode, type Schema } from './schema.ts';

export interface StateSection {
  readonly name: string;
  /** The state's bytes; a large section may write them over `reuse`, what it gave before and nobody needs any more. */
  encode(reuse?: Uint8Array): Uint8Array;
  decode(bytes: Uint8Array): void;
  /** The section's hash where it can be had without encoding everything; `seed` is the section's number. */
  hash?(seed: number): bigint;
  /** Drops what `hash` keeps between calls. */
  forget?(): void;
}

/** The section of what holds its state as a plain object that a schema describes. */
export const sectionOf = <T>(name: string, schema: Schema<T>, holder: { state: T }): StateSection => ({
  name,
  encode: () => encode(schema, holder.state),
  decode: (bytes) => {
    holder.state = decode(schema, bytes);
  },
});
