/** `hindsight origin [RECORDING] PLACE`: where a value came from. */
import { EmulatorError } from '../../core/errors.ts';
import { originDot, renderOrigin } from '../../inspect/origin/render.ts';
import { EXIT } from '../exit.ts';
import { parseTick } from '../parsers.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, onRecording } from '../setting.ts';

interface Options extends CommonOptions {
  readonly at?: string;
  readonly vcpu?: string;
  readonly values: string;
  readonly address?: true;
  readonly control?: true;
  readonly dot?: true;
}

const MOST_VCPUS = 4095;
/** Values looked at in all, at most: each may cost a second. */
const MOST_VALUES = 4096;

const count = (text: string, what: string, least: number, most: number): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least || value > most)
    throw new EmulatorError('E_USAGE', `${what} takes a number from ${least} to ${most}, not ${text}`);
  return value;
};

export const addOrigin: AddVerb = (program, start) => {
  program
    .command('origin')
    .description('where a value came from, step by step back to its roots')
    .usage('[options] [recording] <register | address[:bytes]>')
    .argument(
      '<place...>',
      'a recording (default: the latest) and a place: rax, xmm3, 0xffffffff81000000:4, symbol+0x10',
    )
    .option('--at <tick>', 'the state that is asked about (default: the last)')
    .option('--vcpu <n>', 'whose registers (default: the vCPU whose turn it is)')
    .option('--values <n>', 'values looked at in all', '64')
    .option('--address', 'instead: by which address the value was loaded or stored')
    .option('--control', 'instead: which branch led to the step that wrote it')
    .option('--dot', 'print a graph for Graphviz')
    .option(...JSON_OPTION)
    .action((place: string[], options: Options) =>
      start(options.json === true, async (setting) => {
        const { terminal } = setting;
        if (place.length > 2)
          throw new EmulatorError('E_USAGE', `origin takes a recording and a place, not ${place.join(' ')}`);
        if (options.address && options.control)
          throw new EmulatorError('E_USAGE', '--address and --control are two questions: ask one at a time');
        const report = await onRecording(
          setting,
          place.length > 1 ? place[0] : undefined,
          'origin',
          (recording, hooks) =>
            recording.origin(
              {
                place: place.at(-1)!,
                tick: options.at === undefined ? null : parseTick(options.at, recording.info.ticks),
                vcpu: options.vcpu === undefined ? null : count(options.vcpu, '--vcpu', 0, MOST_VCPUS),
                values: count(options.values, '--values', 1, MOST_VALUES),
                question: options.address ? 'address' : options.control ? 'control' : 'value',
              },
              hooks,
            ),
        );
        terminal.answer(report, () => (options.dot ? originDot(report) : renderOrigin(report, terminal.paint)));
        return EXIT.ok;
      }),
    );
};
