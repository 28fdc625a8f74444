/** `hindsight why [RECORDING]`: from the verdict back to the instruction that is to blame. */
import { renderWhy } from '../../inspect/render.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording, RECORDING_ARGUMENT } from '../setting.ts';

export const addWhy: AddVerb = (program, start) => {
  program
    .command('why')
    .description('what ended the run: the chain of events, the operand, who wrote it')
    .argument(...RECORDING_ARGUMENT)
    .option('--no-confirm', 'do not run it again without the store that is to blame')
    .option(...JSON_OPTION)
    .action((name: string | undefined, options: CommonOptions & { readonly confirm: boolean }) =>
      start(options.json === true, async (setting) => {
        const { terminal } = setting;
        const report = await onRecording(setting, name, 'why', (recording, hooks) =>
          recording.why(hooks, options.confirm),
        );
        terminal.answer(report, () => renderWhy(report, terminal.paint, terminal.width));
        return EXIT.ok;
      }),
    );
};
