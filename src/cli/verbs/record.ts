/** `hindsight record IMAGE -- COMMAND LINE`: boots a kernel, records it, tells how it ended. */
import { Option } from 'commander';
import { renderVerdict, table, tickText } from '../../inspect/render.ts';
import { CPU_POLICIES } from '../../x86/features.ts';
import type { CpuPolicy } from '../../x86/form.ts';
import type { RecordConfig, RecordResult } from '../backend.ts';
import { EXIT, exitOfVerdict } from '../exit.ts';
import { INPUT_FILE, initrdFile, KERNEL_FILE, mustBeFile, readFile } from '../files.ts';
import { isPiped, Keyboard } from '../keyboard.ts';
import { parseCount, parseCpu, parseMemory, parseTime, parseTypeRule, type TypeRule } from '../parsers.ts';
import { type AddVerb, type CommonOptions, JSON_OPTION, type Setting } from '../setting.ts';
import { stopwatch, type Times } from '../stopwatch.ts';

export interface RecordOptions extends CommonOptions {
  readonly initrd?: string;
  readonly memory: number;
  readonly vcpus: number;
  readonly cpu: CpuPolicy;
  readonly output?: string;
  readonly input?: string;
  readonly type: readonly TypeRule[];
  readonly idleLimit: number;
  readonly limitTime?: number;
  readonly limitTicks?: number;
  /** False with --no-store. */
  readonly store: boolean;
}

/** Options of a record without any on the command line. */
export const RECORD_DEFAULTS: RecordOptions = {
  memory: 256 * 2 ** 20,
  vcpus: 1,
  cpu: 'x86-64-v1',
  type: [],
  idleLimit: 30,
  store: true,
};

const HELP = `
The guest's console is your terminal. Ctrl-C ends the recording orderly; Ctrl-] c types a Ctrl-C, Ctrl-] Ctrl-] a Ctrl-].
--type is a rule: once the output since the last match fits REGEX, TEXT is typed (\\n is the enter key). Each rule
types once; of several that fit, the first given does. A pipe or file on standard input is typed like --input.`;

export const addRecord: AddVerb = (program, start) => {
  const { memory, vcpus, cpu, idleLimit } = RECORD_DEFAULTS;
  program
    .command('record')
    .description('boot a kernel image, record everything, tell how it ended')
    .argument('<image>', 'kernel: an ELF file or a bzImage for Xen PV')
    .argument('[commandLine...]', 'its command line, after --')
    .option('--initrd <file>', 'initial RAM disk')
    .addOption(
      new Option('--memory <size>', 'guest memory')
        .argParser((v) => parseMemory(v, '--memory'))
        .default(memory, '256M'),
    )
    .option('--vcpus <n>', 'number of vCPUs', (v) => parseCount(v, '--vcpus'), vcpus)
    .option(
      '--cpu <policy>',
      `the CPU that the guest sees: ${CPU_POLICIES.join(', ')}`,
      (v) => parseCpu(v, '--cpu'),
      cpu,
    )
    .option('-o, --output <dir>', 'directory for the recording, NAME.hs (default: in .hindsight)')
    .option('--input <file>', 'type this file, a line whenever the guest waits')
    .addOption(
      new Option('--type <rule>', 'REGEX=>TEXT, repeatable')
        .argParser((v, all: TypeRule[] = []) => [...all, parseTypeRule(v)])
        .default([], 'none'),
    )
    .addOption(
      new Option('--idle-limit <time>', 'guest time without any progress that makes a hang')
        .argParser((v) => parseTime(v, '--idle-limit'))
        .default(idleLimit, '30s'),
    )
    .option('--limit-time <time>', 'end after this guest time', (v) => parseTime(v, '--limit-time'))
    .option('--limit-ticks <n>', 'end after this many ticks', (v) => parseCount(v, '--limit-ticks'))
    .option('--no-store', 'hash and store nothing')
    .option(...JSON_OPTION)
    .addHelpText('after', HELP)
    .action((image: string, words: string[], options: RecordOptions) =>
      start(options.json === true, async (setting) => {
        const { result, times, unmatchedRules } = await recordGuest(setting, image, words.join(' '), options);
        const { terminal } = setting;
        terminal.answer({ ...result, unmatchedRules, ...times }, () => [
          ...recordLines(setting, result, times),
          ...unmatchedRules.map((rule) => terminal.paint.yellow(`--type '${rule}' never matched: nothing was typed`)),
        ]);
        if (terminal.closed && result.verdict.kind === 'stopped')
          terminal.complain(`standard output was closed: the recording ends at tick ${tickText(result.ticks)}`);
        return exitOfVerdict(result.verdict);
      }),
    );
};

/** Records a guest with its console on the terminal. */
export async function recordGuest(
  setting: Setting,
  image: string,
  commandLine: string,
  options: RecordOptions,
): Promise<{
  readonly result: RecordResult;
  readonly times: Times;
  /** The rules of --type that have typed nothing. */
  readonly unmatchedRules: readonly string[];
}> {
  const { terminal, recordings, interrupt } = setting;
  mustBeFile(image, KERNEL_FILE);
  if (options.initrd !== undefined) mustBeFile(options.initrd, initrdFile(options.memory));
  const config: RecordConfig = {
    image,
    initrd: options.initrd ?? null,
    commandLine,
    memoryBytes: options.memory,
    vcpus: options.vcpus,
    cpuPolicy: options.cpu,
    directory: options.store ? recordings.create(image, options.output, setting.now()) : null,
    numbered: options.output === undefined,
    idleLimitSeconds: options.idleLimit,
    limitSeconds: options.limitTime ?? null,
    limitTicks: options.limitTicks ?? null,
  };
  const file = options.input === undefined ? null : readFile(options.input, INPUT_FILE);
  const keyboard = new Keyboard({ rules: options.type, file });
  const backend = await setting.backend();
  const { stdin } = terminal;
  let detach = (): void => {};
  const read = stopwatch();
  try {
    const result = await backend.record(config, {
      built: () => {
        interrupt.arm();
        if (stdin.isTTY) detach = keyboard.attach(stdin, () => interrupt.request());
        else if (isPiped(stdin)) detach = keyboard.follow(stdin);
      },
      created: (path) => {
        try {
          recordings.made(path);
        } catch (error) {
          // the recording itself is more than its name
          terminal.aside(`${(error as Error).message}; name the recording: ${path}`);
        }
      },
      console: (bytes) => {
        keyboard.saw(bytes);
        terminal.guest(bytes);
      },
      log: terminal.log,
      shown: () => terminal.shown(interrupt.signal),
      input: keyboard,
      progress: () => {},
      stop: interrupt.signal,
    });
    return { result, times: read(), unmatchedRules: keyboard.unmatched };
  } finally {
    detach();
  }
}

/** The end of a recording in words. */
function recordLines(setting: Setting, result: RecordResult, times: Times): string[] {
  const { paint } = setting.terminal;
  const lines = ['', renderVerdict(result.verdict, paint)];
  const rows = [['ticks', `${tickText(result.ticks)} in ${times.seconds} s`]];
  if (result.recording !== null) {
    rows.push(['recording', result.recording]);
    rows.push(['journal', bytesLong(result.journalBytes)]);
    rows.push(['snapshots', `${result.snapshots}, ${bytesLong(result.snapshotBytes)}`]);
  }
  lines.push(...table(rows).map((row) => paint.dim(`  ${row}`)));
  const { kind } = result.verdict;
  const failed = exitOfVerdict(result.verdict) !== EXIT.ok && kind !== 'stopped' && kind !== 'limit';
  if (result.recording !== null && failed) lines.push('', `Next: ${paint.bold('hindsight why')} tells what led to it.`);
  return lines;
}

/** Bytes for a person: `1.2 MB`. */
export function bytesLong(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB'];
  let [value, unit] = [bytes / 1000, 0];
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
