/** `hindsight info [RECORDING]`: what was recorded, and how large it is. */
import { type Paint, renderVerdict, table, tickText } from '../../inspect/render.ts';
import type { RecordingInfo } from '../backend.ts';
import { EXIT } from '../exit.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, RECORDING_ARGUMENT } from '../setting.ts';
import { bytesLong } from './record.ts';

export const addInfo: AddVerb = (program, start) => {
  program
    .command('info')
    .description('what a recording holds')
    .argument(...RECORDING_ARGUMENT)
    .option(...JSON_OPTION)
    .action((name: string | undefined, options: CommonOptions) =>
      start(options.json === true, async (setting) => {
        const { terminal, recordings } = setting;
        const path = recordings.resolve(name);
        const info = await (await setting.backend()).info(path);
        terminal.answer(info, () => infoLines(info, recordings.isRecording(path), terminal.paint));
        return EXIT.ok;
      }),
    );
};

function infoLines(info: RecordingInfo, isRecording: boolean, paint: Paint): string[] {
  const none = isRecording ? 'none yet: it is being recorded' : 'none: the recorder did not finish';
  const seconds = info.ticks / info.ticksPerSecond;
  return table([
    ['recording', paint.bold(info.recording)],
    ['made', info.created],
    ['image', `${info.image}, ${bytesLong(info.imageBytes)}`],
    ['initrd', info.initrd === null ? '-' : `${info.initrd}, ${bytesLong(info.initrdBytes ?? 0)}`],
    ['command line', info.commandLine === '' ? '-' : info.commandLine],
    [
      'machine',
      `${info.platform}, ${info.vcpus} vCPU of ${info.cpuPolicy}, ${info.memoryBytes / 2 ** 20} MiB of memory`,
    ],
    ['semantics', info.semantics],
    ['length', `${tickText(info.ticks)} ticks, ${seconds.toPrecision(3)} s of running guest time`],
    ['verdict', info.verdict === null ? none : renderVerdict(info.verdict, paint)],
    ['journal', bytesLong(info.journalBytes)],
    ['snapshots', `${info.snapshots}, ${bytesLong(info.snapshotBytes)}`],
  ]);
}
