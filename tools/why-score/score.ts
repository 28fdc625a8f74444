/** What an answer of `why` is worth beside the right one. */
import type { Answer, Range } from './kernels.ts';

/** The parts of `why --json` that are compared: numbers of 64 bits are hexadecimal texts. */
export interface Told {
  readonly verdict: { readonly kind: string };
  readonly decides: { readonly role: string } | null;
  readonly root: {
    readonly store: { readonly rip: string } | null;
    readonly source: {
      readonly kind: string;
      readonly text: string;
      readonly rip: string | null;
      readonly what: string | null;
      readonly offset: number | null;
    };
  } | null;
  readonly loop: { readonly word: { readonly lastWriter: { readonly rip: string } | null } | null } | null;
  readonly wait: object | null;
  readonly confirmed: boolean | null;
  readonly chain: ReadonlyArray<{ readonly what: string }>;
}

/** All of it right; some, and nothing wrong; nothing; a store or a source that is wrong. */
export type Mark = 'named' | 'partly' | 'unnamed' | 'misnamed';

export interface Score {
  readonly mark: Mark;
  /** The parts that are not right, in words. */
  readonly faults: readonly string[];
  readonly confirmed: boolean | null;
}

/** Compares one answer; `functions`: where each lies, by its true name. */
export function score(told: Told, answer: Answer, functions: readonly Range[]): Score {
  const nameAt = (rip: string | null): string =>
    rip === null
      ? 'nothing'
      : (functions.find(({ start, end }) => BigInt(rip) >= start && BigInt(rip) < end)?.name ?? rip);
  const faults: string[] = [];
  const right: string[] = [];
  let wrong = false;
  const hold = (what: string, holds: boolean, is: string): void => void (holds ? right.push(what) : faults.push(is));
  const { kind } = told.verdict;
  hold('verdict', kind === answer.verdict, `verdict ${kind}`);
  const role = told.decides?.role ?? 'nothing';
  if (answer.decides !== null) hold('decides', answer.decides.includes(role), `${role} decides`);
  const store = told.root?.store ?? null;
  if (answer.store !== null)
    hold('store', store !== null && answer.store.includes(nameAt(store.rip)), `store ${nameAt(store?.rip ?? null)}`);
  if (store !== null && !answer.store?.includes(nameAt(store.rip))) wrong = true;
  const source = told.root?.source ?? null;
  const from = source === null || source.kind === 'limit' ? null : source;
  const fits = from !== null && (answer.source?.some((text) => isSource(text, from, nameAt(from.rip))) ?? false);
  if (answer.source !== null)
    hold('source', fits, `source ${source === null ? 'nothing' : `${source.text} (${nameAt(source.rip)})`}`);
  if (from !== null && !fits) wrong = true;
  if (answer.loopWriter !== undefined) {
    const writer = nameAt(told.loop?.word?.lastWriter?.rip ?? null);
    hold('loop', answer.loopWriter.includes(writer), `the word of the loop is written by ${writer}`);
  }
  if (answer.waits !== undefined) {
    const said = told.wait !== null && told.chain.some(({ what }) => what.includes(answer.waits!));
    hold('wait', said, `nothing ${answer.waits} is told`);
  }
  const useful = right.some((what) => what !== 'verdict');
  const mark = wrong ? 'misnamed' : faults.length === 0 ? 'named' : useful ? 'partly' : 'unnamed';
  return { mark, faults, confirmed: told.confirmed };
}

/** `constant in FUNCTION`, `made by ...`, `input for ...`, `never written`, or `WHAT [byte N]` of what was built. */
function isSource(text: string, source: NonNullable<Told['root']>['source'], name: string): boolean {
  const { kind, what, offset } = source;
  const place = /^constant in (\S+)$/.exec(text)?.[1];
  if (place !== undefined) return kind === 'constant' && name === place;
  if (/^made by /.test(text)) return kind === 'made';
  if (/^(input|never written)\b/.test(text)) return text.startsWith(kind);
  const [, named = text, byte] = /^(.*?) byte (\d+)$/.exec(text) ?? [];
  return kind === 'built' && what === named && (byte === undefined || offset === Number(byte));
}

/** How many there are of each mark, and how many of those with a store that can be undone are confirmed. */
export function summary(scores: ReadonlyArray<{ readonly answer: Answer; readonly score: Score }>): string {
  const of = (mark: Mark): number => scores.filter((x) => x.score.mark === mark).length;
  const stores = scores.filter(({ answer }) => answer.undo);
  const confirmed = stores.filter((x) => x.score.confirmed === true).length;
  const percent = (part: number, all: number): string => (all === 0 ? '-' : `${((100 * part) / all).toFixed(1)} %`);
  const named = `${of('named')} of ${scores.length} named (${percent(of('named'), scores.length)})`;
  const rest = `${of('partly')} partly, ${of('unnamed')} unnamed, ${of('misnamed')} misnamed`;
  return `${named}, ${rest}; ${confirmed} of ${stores.length} stores confirmed (${percent(confirmed, stores.length)})`;
}
