/** What a host may do for the code that the engine generates. None of it can be seen from inside. */

/** Makes an instance of the module with these bytes. */
export type Instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports) => WebAssembly.Instance;

export interface CodeHost {
  /** May remember what V8 made of the same bytes in an earlier process. */
  readonly instantiate: Instantiate;
  /**
   * Code that was translated in earlier runs of the same kernel, by number of its bucket (256 bytes of a page under a code key):
   * meeting it once is enough. What is translated in this run is added, for the next one.
   */
  readonly warm: Set<number>;
  /** Called when much memory outside the JavaScript heap waits for a collection of garbage: may start one. */
  readonly collectGarbage: () => void;
}

/** Compiles anew, remembers nothing. */
export const plainHost = (): CodeHost => ({
  instantiate: (bytes, imports) => new WebAssembly.Instance(new WebAssembly.Module(bytes), imports),
  warm: new Set(),
  collectGarbage: () => {},
});
