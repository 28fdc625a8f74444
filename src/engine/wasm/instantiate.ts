/** How the engine's modules become code: the only place that asks V8 to compile them. */

/**
 * Makes an instance of the module with these bytes. A host may have one of its own that remembers what V8 made of the same
 * bytes before; that is unobservable.
 */
export type Instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports) => WebAssembly.Instance;

/** Compiles anew. */
export const instantiate: Instantiate = (bytes, imports) =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
