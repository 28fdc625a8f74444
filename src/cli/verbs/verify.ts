/** `hindsight verify [RECORDING]`: checks every byte of a recording against its checksums, without running anything. */
import { type Paint, tickText } from '../../inspect/render.ts';
import type { VerifyResult } from '../backend.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, RECORDING_ARGUMENT, type Setting } from '../setting.ts';

export const addVerify: AddVerb = (program, start) => {
  program
    .command('verify')
    .description('check that a recording is whole')
    .argument(...RECORDING_ARGUMENT)
    .option(...JSON_OPTION)
    .action((name: string | undefined, options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const result = await verifyRecording(setting, name);
        setting.terminal.answer(result, () => verifyLines(result, setting.terminal.paint));
        return result.ok ? EXIT.ok : EXIT.usage;
      }),
    );
};

/** Checks a recording. */
export async function verifyRecording(setting: Setting, name: string | undefined): Promise<VerifyResult> {
  const { terminal, recordings, interrupt } = setting;
  const path = recordings.resolve(name);
  const backend = await setting.backend();
  return terminal.working('verify', (progress) => backend.verify(path, { progress, stop: interrupt.signal }));
}

/** The outcome in words. */
function verifyLines(result: VerifyResult, paint: Paint): string[] {
  const { journalBlocks, snapshots, pages, ticks, findings } = result;
  const held = `${journalBlocks} journal blocks, ${snapshots} snapshots, ${pages} pages, ${tickText(ticks)} ticks`;
  if (result.ok) {
    const empty = journalBlocks === 0 ? '; its recorder ended before anything was stored' : '';
    return [`${paint.green(paint.bold('whole'))} ${result.recording}: ${held}${empty}`];
  }
  return [
    `${paint.red(paint.bold('damaged'))} ${result.recording}: ${held}`,
    ...findings.map(({ place, problem }) => `  ${place}: ${problem}`),
  ];
}
