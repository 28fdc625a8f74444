/** `hindsight rm RECORDING...`: deletes recordings, and nothing that is not one. */
import { EmulatorError } from '../../core/errors.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, type Setting } from '../setting.ts';
import { bytesLong } from './record.ts';

/** What was deleted. */
interface Removed {
  readonly recording: string;
  readonly bytes: number;
}

const HELP = `
A damaged recording may go too, as long as its anchor is whole. Files, links, folders that are no recording or hold anything
else, and recordings that are being made are refused.`;

export const addRm: AddVerb = (program, start) => {
  program
    .command('rm')
    .description('delete recordings, and nothing else')
    .argument('<recordings...>', 'paths or names')
    .option(...JSON_OPTION)
    .addHelpText('after', HELP)
    .action((names: string[], options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const removed = removeAll(setting, names);
        setting.terminal.answer({ removed }, () =>
          removed.map(({ recording, bytes }) => `deleted ${recording}, ${bytesLong(bytes)}`),
        );
        return EXIT.ok;
      }),
    );
};

/** Deletes what the names mean; an error says what had been deleted until then. */
function removeAll({ recordings }: Setting, names: readonly string[]): Removed[] {
  const paths = new Set(names.map((name) => recordings.resolve(name)));
  const removed: Removed[] = [];
  for (const recording of paths) {
    try {
      removed.push({ recording, bytes: recordings.remove(recording) });
    } catch (error) {
      if (!(error instanceof EmulatorError) || removed.length === 0) throw error;
      const done = removed.map((x) => x.recording).join(', ');
      throw new EmulatorError(error.code, `${error.message}; deleted before it: ${done}`, { cause: error });
    }
  }
  return removed;
}
