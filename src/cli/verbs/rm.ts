/** `hindsight rm [RECORDING...]`: deletes recordings, and nothing that is not one. */
import { EmulatorError } from '../../core/errors.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, type Setting } from '../setting.ts';

export const addRm: AddVerb = (program, start) => {
  program
    .command('rm')
    .description('delete recordings')
    .argument('[recordings...]', 'paths or names; the latest when none is named')
    .option(...JSON_OPTION)
    .action((names: string[], options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const { recordings, terminal } = setting;
        const paths = (names.length === 0 ? [undefined] : names).map((name) => recordings.resolve(name));
        for (const path of paths) await mustBeRecording(setting, path);
        for (const path of paths) recordings.remove(path);
        terminal.answer({ removed: paths }, () => paths.map((path) => `deleted ${path}`));
        return EXIT.ok;
      }),
    );
};

/** A damaged recording may go too, where its name says that it is one. */
async function mustBeRecording(setting: Setting, path: string): Promise<void> {
  try {
    await (await setting.backend()).info(path);
  } catch (error) {
    if (!(error instanceof EmulatorError) || error.code === 'E_HOST' || !path.endsWith('.hs')) throw error;
  }
}
