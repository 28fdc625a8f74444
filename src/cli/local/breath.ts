/** Work that looks up now and then, so that a signal is heard and progress shown. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SearchHooks } from '../../inspect/search.ts';
import type { WorkHooks } from '../backend.ts';

/** How often work looks up from the machine. */
export const BREATH_MS = 20;

/** Lets the host's events happen about every {@link BREATH_MS}; throws when the user has interrupted. */
export function breather(stop: AbortSignal): () => Promise<void> {
  let last = performance.now();
  return async () => {
    const now = performance.now();
    if (now - last < BREATH_MS) return;
    await nextTurn();
    last = performance.now();
    stop.throwIfAborted();
  };
}
/** Hooks of a search from those of the work it is part of. */
export const searchHooks = (hooks: WorkHooks): SearchHooks => ({
  breathe: breather(hooks.stop),
  progress: (done, of) => hooks.progress(done, of),
});
