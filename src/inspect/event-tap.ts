/** What the platform tells of a running session, as events with names and ticks. */
import type { Session } from '../timeline/session.ts';
import type { RunEvent } from './investigate.ts';
import type { SessionMoment } from './session-moment.ts';

/** Kinds of events that the journal knows, on every platform. */
const OF_JOURNAL: readonly string[] = ['input', 'timer', 'idle'];

/** Kinds of events, for `--only` beside their names. */
export const eventKinds = ({ run }: Session): string[] => [
  ...run.explanation.kinds.filter((k) => k.names).map((k) => k.kind),
  ...run.explanation.kinds.filter((k) => !k.names).map((k) => k.kind),
  ...OF_JOURNAL,
];
/** Fields that events of a name can have, empty where they have none; null when no event is called so. */
export const eventFields = ({ run }: Session, name: string): readonly string[] | null =>
  run.explanation.eventFields(name) ?? (OF_JOURNAL.includes(name) ? [] : null);

/** Calls `visit` for every event while the session runs; returns what undoes that. */
export function tapEvents({ run }: Session, moment: SessionMoment, visit: (event: RunEvent) => void): () => void {
  const { machine, explanation } = run;
  const undo = explanation.heard.map((kind) =>
    machine.platform.stream.on(kind, (event) => {
      for (const named of explanation.decode(event, moment)) visit({ ...named, tick: machine.visibleAt - 1 });
    }),
  );
  return () => {
    for (const end of undo) end();
  };
}
