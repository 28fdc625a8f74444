/**
 * `hindsight ls`: the recordings that a name can mean, the latest last; what cannot be read is listed with the reason.
 */
import { table, tickText } from '../../inspect/render.ts';
import type { RecordingInfo } from '../backend.ts';
import { EXIT, failureOf } from '../exit.ts';
import type { Listed } from '../recordings.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, type Setting } from '../setting.ts';
import { bytesLong } from './record.ts';

/** A recording: ended, being made, or left by a recorder that was killed. */
interface Readable extends RecordingInfo {
  readonly state: 'ended' | 'recording' | 'unfinished';
  readonly diskBytes: number;
}
/** What `ls` could not read. */
interface Unreadable {
  readonly recording: string;
  readonly error: { readonly code: string; readonly message: string };
  readonly diskBytes: number;
}

export const addLs: AddVerb = (program, start) => {
  program
    .command('ls')
    .description('the recordings in .hindsight and in the current folder, the latest last')
    .option(...JSON_OPTION)
    .action((options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const found: (Readable | Unreadable)[] = [];
        for (const listed of setting.recordings.list()) found.push(await read(setting, listed));
        setting.terminal.answer(found, () => lines(found));
        return EXIT.ok;
      }),
    );
};

async function read(setting: Setting, { path, problem }: Listed): Promise<Readable | Unreadable> {
  const { recordings } = setting;
  const diskBytes = recordings.bytes(path);
  try {
    if (problem !== null) throw problem;
    const info = await (await setting.backend()).info(path);
    const state = info.verdict !== null ? 'ended' : recordings.isRecording(path) ? 'recording' : 'unfinished';
    return { ...info, state, diskBytes };
  } catch (error) {
    const { code, message } = failureOf(error);
    return { recording: path, error: { code, message }, diskBytes };
  }
}

function lines(found: readonly (Readable | Unreadable)[]): readonly string[] {
  if (found.length === 0) return ['no recordings yet; hindsight record IMAGE makes one'];
  return table(
    found.map((r) =>
      'error' in r
        ? [r.recording, r.error.code, '', bytesLong(r.diskBytes), r.error.message]
        : [r.recording, r.verdict?.kind ?? r.state, `${tickText(r.ticks)} ticks`, bytesLong(r.diskBytes)],
    ),
    [2, 3],
  );
}
