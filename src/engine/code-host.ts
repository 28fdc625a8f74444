/** What a host may do for the code that the engine generates. None of it can be seen from inside. */

import type { PreparedHandlers } from './cold/prepared.ts';
import { Translations } from './hot/translations.ts';

/** Makes an instance of the module with these bytes. */
export type Instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports) => WebAssembly.Instance;

export interface CodeHost {
  /** May remember what V8 made of the same bytes in an earlier process. */
  readonly instantiate: Instantiate;
  /** Handlers that have been compiled already; null where there are none. */
  readonly prepared: PreparedHandlers | null;
  /** Called when much memory outside the JavaScript heap waits for a collection of garbage: may start one. */
  readonly collectGarbage: () => void;
  /**
   * What has been translated for engines of one kind, which `kind` names: their instructions and the shape of their memory. May
   * hold what an earlier process translated.
   */
  readonly translations: (kind: string) => Translations;
}

/** Compiles anew. */
export const plainHost = (): CodeHost => ({
  instantiate: (bytes, imports) => new WebAssembly.Instance(new WebAssembly.Module(bytes), imports),
  prepared: null,
  collectGarbage: () => {},
  translations: () => new Translations(),
});
