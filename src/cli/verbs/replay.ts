/** `hindsight replay [RECORDING]`: runs it again from its journal alone and compares every hash on the way. */
import { tickText } from '../../inspect/render.ts';
import type { ReplayResult } from '../backend.ts';
import { EXIT } from '../exit.ts';
import {
  type AddVerb,
  type CommonOptions,
  JSON_OPTION,
  onRecording,
  RECORDING_ARGUMENT,
  type Setting,
} from '../setting.ts';
import { stopwatch, type Times } from '../stopwatch.ts';

interface Options extends CommonOptions {
  readonly console?: true;
}

export const addReplay: AddVerb = (program, start) => {
  program
    .command('replay')
    .description('run a recording again, bit for bit, checking hashes on the way')
    .argument(...RECORDING_ARGUMENT)
    .option('--console', "show the guest's console again")
    .option(...JSON_OPTION)
    .action((name: string | undefined, options: Options) =>
      start(options.json === true, async (setting) => {
        const { result, times } = await replayRecording(setting, name, options.console === true);
        setting.terminal.answer({ ...result, ...times }, () => replayLines(setting, result, times));
        return result.divergence === null ? EXIT.ok : EXIT.diverged;
      }),
    );
};

/** Replays a recording. */
export async function replayRecording(
  setting: Setting,
  name: string | undefined,
  showConsole: boolean,
): Promise<{ readonly result: ReplayResult; readonly times: Times }> {
  const read = stopwatch();
  const result = await onRecording(setting, name, 'replay', (recording, hooks) =>
    recording.replay({ ...hooks, console: showConsole ? setting.terminal.guest : () => {} }),
  );
  return { result, times: read() };
}

/** The outcome of a replay in words. */
function replayLines(setting: Setting, result: ReplayResult, times: Times): string[] {
  const { paint } = setting.terminal;
  const { divergence } = result;
  const run = `${result.recording}: ${tickText(result.ticks)} ticks in ${times.seconds} s`;
  const hash = `state hash 0x${result.stateHash.toString(16).padStart(32, '0')}`;
  if (divergence !== null) {
    const place =
      divergence.from === divergence.tick
        ? `at tick ${tickText(divergence.tick)}`
        : `between the ticks ${tickText(divergence.from)} and ${tickText(divergence.tick)}`;
    return [`${paint.red(paint.bold('diverged'))} ${place}: ${divergence.message}`, run];
  }
  if (result.counterfactual)
    return [`${paint.yellow('counterfactual')}: the journal was edited, the run followed the edit`, run, hash];
  return [`${result.verified ? paint.green(paint.bold('verified')) : paint.yellow('not verified')} ${run}`, hash];
}
