/**
 * Edited copies of recordings: what would have happened had the input come otherwise.
 *
 * A journal is sealed, so that a change made behind our back is a damaged recording. An edit is made here, on purpose: the copy
 * says in its header from which tick on it is not what was recorded. Replaying it proves the part before that tick, follows
 * the edited input after it, and calls itself counterfactual.
 */
import { EmulatorError } from '../core/errors.ts';
import type { Tick } from '../core/units.ts';
import { isPayload } from './journal.ts';
import type { JournalEntry, NewRecording, Recording, RecordingHeader } from './trace-store.ts';

/** Name of the header's setting that holds the first tick at which a copy differs. */
export const EDITED_SETTING = 'edited';

/** The first tick from which a recording's journal is not the recorded one; Infinity for a recording as it was made. */
export function editedFrom(recording: Recording): Tick {
  const setting = recording.header.settings[EDITED_SETTING];
  return setting === undefined ? Number.POSITIVE_INFINITY : Number(setting);
}

/** The journal of a recording. */
export const journalOf = (recording: Recording): JournalEntry[] =>
  recording.blocks.flatMap((block) => recording.block(block.sequence).entries);

/** The journal with its input number `index` (from 0) moved by `ticks`; E_USAGE where there is none or it would not fit. */
export function moveInput(entries: readonly JournalEntry[], index: number, ticks: number): JournalEntry[] {
  const input = entries.filter(isPayload)[index];
  if (input === undefined) throw new EmulatorError('E_USAGE', `the journal has no input number ${index}`);
  const tick = input.tick + ticks;
  if (!Number.isSafeInteger(tick) || tick < 0)
    throw new EmulatorError('E_USAGE', `an input cannot be moved to tick ${tick}`);
  return entries.map((entry) => (entry === input ? { ...entry, tick } : entry)).sort((a, b) => a.tick - b.tick);
}

/** The first tick at which two journals differ, or Infinity. */
function firstDifference(one: readonly JournalEntry[], other: readonly JournalEntry[]): Tick {
  const text = (entry: JournalEntry | undefined): string =>
    entry === undefined
      ? ''
      : `${entry.tick} ${isPayload(entry) ? [entry.device, ...entry.data] : [entry.kind, entry.detail]}`;
  for (let i = 0; i < Math.max(one.length, other.length); i++)
    if (text(one[i]) !== text(other[i]))
      return Math.min(...[one[i], other[i]].flatMap((entry) => (entry === undefined ? [] : [entry.tick])));
  return Number.POSITIVE_INFINITY;
}

/**
 * Writes a copy of `original` with the journal `entries`, in the recording that `create` makes. It has no snapshots and no end:
 * both are the original's. E_USAGE when nothing is edited.
 */
export async function writeEditedCopy(
  original: Recording,
  entries: readonly JournalEntry[],
  create: (header: RecordingHeader) => Promise<NewRecording>,
): Promise<NewRecording> {
  const from = Math.min(firstDifference(journalOf(original), entries), editedFrom(original));
  if (from === Number.POSITIVE_INFINITY) throw new EmulatorError('E_USAGE', 'the edit changes nothing');
  const { header } = original;
  const copy = await create({ ...header, settings: { ...header.settings, [EDITED_SETTING]: String(from) } });
  let next = 0;
  for (const { sequence, lastTick, stateHash } of original.blocks) {
    for (; next < entries.length && entries[next]!.tick <= lastTick; next++) copy.append(entries[next]!);
    for (const { tick, value } of original.block(sequence).digests) copy.digest(tick, value);
    copy.endBlock(lastTick, stateHash);
  }
  await copy.flush();
  return copy;
}
