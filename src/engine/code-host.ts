/** What a host may do for the code that the engine generates. None of it can be seen from inside. */
import type { HandlerHost } from './cold/handlers.ts';
import type { RegionHost } from './hot/hot.ts';
import { Translations } from './hot/translations.ts';

export interface CodeHost extends HandlerHost, RegionHost {
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
