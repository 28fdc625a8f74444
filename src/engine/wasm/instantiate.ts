/** Makes an instance of the module with these bytes. */
export type Instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports) => WebAssembly.Instance;
