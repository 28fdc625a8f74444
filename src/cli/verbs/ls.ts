/** `hindsight ls`: the recordings in `.hindsight`, oldest first; one that cannot be read is listed with the reason. */
import { table, tickText } from '../../inspect/render.ts';
import type { RecordingInfo } from '../backend.ts';
import { EXIT, failureOf } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION } from '../setting.ts';
import { bytesLong } from './record.ts';

/** A recording that `ls` could not read. */
interface Unreadable {
  readonly recording: string;
  readonly error: { readonly code: string; readonly message: string };
}

export const addLs: AddVerb = (program, start) => {
  program
    .command('ls')
    .description('the recordings in .hindsight, the latest last')
    .option(...JSON_OPTION)
    .action((options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const paths = setting.recordings.list();
        const found: (RecordingInfo | Unreadable)[] = [];
        for (const path of paths) {
          try {
            found.push(await (await setting.backend()).info(path));
          } catch (error) {
            const { code, message } = failureOf(error);
            found.push({ recording: path, error: { code, message } });
          }
        }
        setting.terminal.answer(found, () => lines(found));
        return EXIT.ok;
      }),
    );
};

function lines(found: readonly (RecordingInfo | Unreadable)[]): readonly string[] {
  if (found.length === 0) return ['no recordings yet; hindsight record IMAGE makes one'];
  return table(
    found.map((r) =>
      'error' in r
        ? [r.recording, r.error.code, '', '']
        : [
            r.recording,
            r.verdict?.kind ?? 'unfinished',
            `${tickText(r.ticks)} ticks`,
            bytesLong(r.journalBytes + r.snapshotBytes),
          ],
    ),
    [2, 3],
  );
}
