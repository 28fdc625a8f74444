/** The command line: one file a verb, errors turned into one line and an exit status. */
import { Command, CommanderError } from 'commander';
import type { Backend } from './backend.ts';
import { EXIT, failureOf, failureText } from './exit.ts';
import { Interrupt } from './interrupt.ts';
import { toJson } from './json.ts';
import { Recordings } from './recordings.ts';
import type { Action, AddVerb } from './setting.ts';
import { type Streams, Terminal } from './terminal.ts';
import { addBisect } from './verbs/bisect.ts';
import { addDebug } from './verbs/debug.ts';
import { addDemo } from './verbs/demo.ts';
import { addEvents } from './verbs/events.ts';
import { addGoto } from './verbs/goto.ts';
import { addInfo } from './verbs/info.ts';
import { addLs } from './verbs/ls.ts';
import { addRecord } from './verbs/record.ts';
import { addReplay } from './verbs/replay.ts';
import { addRm } from './verbs/rm.ts';
import { addVerify } from './verbs/verify.ts';
import { addWhy } from './verbs/why.ts';

/** What the program runs in; main.ts hands in the real one. */
export interface Environment {
  readonly streams: Streams;
  readonly cwd: string;
  readonly backend: () => Promise<Backend>;
  readonly now: () => Date;
  readonly version: string;
  /** Print stack traces of our own bugs. */
  readonly trace: boolean;
}

/** In the order in which help shows them. */
const VERBS: readonly AddVerb[] = [
  addRecord,
  addReplay,
  addWhy,
  addBisect,
  addGoto,
  addDebug,
  addEvents,
  addInfo,
  addLs,
  addVerify,
  addRm,
  addDemo,
];
/** A program that was interrupted, as shells count it. */
const INTERRUPTED = 130;

const AFTER_HELP = `
Examples:
  $ hindsight record vmlinuz --initrd initrd.gz -- console=hvc0
  $ hindsight replay
  $ hindsight why
  $ hindsight bisect --when 'console ~ "panic"'

Exit status: 0 fine, 1 a mistake of Hindsight, 2 bad usage or input, 3 the guest failed or did not end,
4 a replay differed, 5 the host failed, 6 diff found a difference, 7 a predicate was never true.`;

/** Runs one command line; the exit status. Never throws. */
export async function run(argv: readonly string[], environment: Environment): Promise<number> {
  const { streams } = environment;
  let status: number = EXIT.ok;
  const start = async (json: boolean, action: Action): Promise<void> => {
    status = await perform(environment, json, action);
  };
  const program = new Command('hindsight')
    .description('Record a failing kernel boot, replay it bit for bit, bisect it to the instruction that broke it.')
    .version(environment.version)
    .helpCommand(false)
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'E_USAGE: ')),
    })
    .exitOverride()
    .showHelpAfterError('(hindsight VERB --help says more)')
    .addHelpText('after', AFTER_HELP);
  for (const add of VERBS) add(program, start);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    const end = argv.indexOf('--');
    const json = argv.slice(0, end < 0 ? argv.length : end).includes('--json');
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.ok;
      if (json) streams.stdout.write(errorJson('E_USAGE', error.message.replace(/^error: /, '')));
      return EXIT.usage;
    }
    return fail(environment, error, json);
  }
}

const errorJson = (code: string, message: string): string => toJson({ error: { code, message } });

/** Tells an error and gives its exit status; with `json` stdout gets it as the one value it is owed. */
function fail({ streams, trace }: Environment, error: unknown, json: boolean): number {
  const failure = failureOf(error);
  streams.stderr.write(failureText(failure));
  if (trace && error instanceof Error) streams.stderr.write(`${error.stack}\n`);
  if (json) streams.stdout.write(errorJson(failure.code, failure.message));
  return failure.status;
}

async function perform(environment: Environment, json: boolean, action: Action): Promise<number> {
  const { streams, cwd, backend, now } = environment;
  const terminal = new Terminal(streams, json);
  const interrupt = new Interrupt();
  try {
    return await action({ terminal, recordings: new Recordings(cwd), interrupt, backend, now });
  } catch (error) {
    if (interrupt.signal.aborted && (error as Error).name === 'AbortError') return INTERRUPTED;
    return fail(environment, error, json && !terminal.answered);
  } finally {
    interrupt.release();
  }
}
