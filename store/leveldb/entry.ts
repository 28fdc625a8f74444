/** What LevelDB keeps of a key: its value, or that it was deleted, each with the number of the write. */
export interface Entry {
  /** A character a byte, so that strings are in the order of bytes. */
  readonly key: string;
  readonly sequence: number;
  /** Null where the key was deleted. */
  readonly value: Buffer | null;
}
