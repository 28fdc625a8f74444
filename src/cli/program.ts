/** The command line: one file a verb, errors turned into one line and an exit status. */
import { Command, CommanderError } from 'commander';
import { EmulatorError } from '../core/errors.ts';
import type { Backend } from './backend.ts';
import { EXIT, type Failure, failureOf, failureText } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import { toJson } from './json.ts';
import { Outlet } from './outlet.ts';
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
import { addOrigin } from './verbs/origin.ts';
import { addRecord } from './verbs/record.ts';
import { addReplay } from './verbs/replay.ts';
import { addRm } from './verbs/rm.ts';
import { addVerify } from './verbs/verify.ts';
import { addWhy } from './verbs/why.ts';
import { visibleLines } from './visible.ts';

/** What the program runs in; main.ts hands in the real one. */
export interface Environment {
  readonly streams: Streams;
  /** The working directory; E_HOST when it is gone. */
  readonly cwd: () => string;
  readonly backend: () => Promise<Backend>;
  /** What asks for an end; whoever made it releases it, which the end of a process does best. */
  readonly interrupt: Interrupt;
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
  addOrigin,
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
/** How long somebody who wants the program to end waits for a reader that takes nothing (ms). */
const LAST_WORDS_MS = 300;

const AFTER_HELP = `
Examples:
  $ hindsight record vmlinuz --initrd initrd.gz -- console=hvc0
  $ hindsight replay
  $ hindsight why
  $ hindsight bisect --when 'console ~ "panic"'

Exit status: 0 fine, 1 a mistake of Hindsight, 2 bad usage or input, 3 the guest failed or did not end,
4 a replay differed, 5 the host failed, 7 a predicate was never true.`;

/** Runs one command line; the exit status. Never throws. */
export async function run(argv: readonly string[], environment: Environment): Promise<number> {
  return new Program(environment).run(argv);
}

const errorJson = ({ code, message }: Failure): string => toJson({ error: { code, message } });

/** One command line on its way. */
class Program {
  readonly #environment: Environment;
  readonly #stdout: Outlet;
  readonly #stderr: Outlet;
  readonly #interrupt: Interrupt;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#interrupt = environment.interrupt;
    this.#stdout = new Outlet(environment.streams.stdout);
    this.#stderr = new Outlet(environment.streams.stderr);
    this.#stdout.onFailure = () => this.#interrupt.unheard();
  }

  async run(argv: readonly string[]): Promise<number> {
    let status = await this.#parse(argv);
    await this.#lastWords();
    const { failure } = this.#stdout;
    if (failure !== null) status = this.#fail(unwritable(failure), false);
    await this.#lastWords();
    return status;
  }
  /** Waits until everything has been said; only so long where somebody wants the program to end. */
  async #lastWords(): Promise<void> {
    const { signal } = this.#interrupt;
    const said = Promise.all([this.#stdout.flushed(), this.#stderr.flushed()]);
    const cut = new Promise<void>((resolve) => {
      const later = (): unknown => setTimeout(resolve, LAST_WORDS_MS).unref();
      if (signal.aborted) later();
      else signal.addEventListener('abort', later, { once: true });
    });
    await Promise.race([said, cut]);
  }

  async #parse(argv: readonly string[]): Promise<number> {
    const end = argv.indexOf('--');
    const json = argv.slice(0, end < 0 ? argv.length : end).includes('--json');
    /** What commander says of itself, which is the answer too. */
    let told = '';
    let status: number = EXIT.ok;
    const start = async (json: boolean, action: Action): Promise<void> => {
      status = await this.#perform(json, action);
    };
    const program = new Command('hindsight')
      .description('Record a failing kernel boot, replay it bit for bit, bisect it to the instruction that broke it.')
      .version(this.#environment.version)
      .helpCommand(false)
      .configureOutput({
        writeOut: (text) => {
          told += text;
        },
        writeErr: (text) => this.#stderr.write(visibleLines(text)),
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
      if (!(error instanceof CommanderError)) return this.#fail(error, json);
      if (error.exitCode === 0) {
        const value = error.code === 'commander.version' ? { version: told.trim() } : { help: told };
        this.#stdout.write(json ? toJson(value) : visibleLines(told));
        return EXIT.ok;
      }
      const failure = { status: EXIT.usage, code: 'E_USAGE', message: error.message.replace(/^error: /, '') } as const;
      if (json) this.#stdout.write(errorJson(failure));
      return failure.status;
    }
  }

  async #perform(json: boolean, action: Action): Promise<number> {
    const { streams, cwd, backend, now } = this.#environment;
    const terminal = new Terminal(streams.stdin, this.#stdout, this.#stderr, json);
    const interrupt = this.#interrupt;
    try {
      return await action({ terminal, recordings: new Recordings(cwd()), interrupt, backend, now });
    } catch (error) {
      return this.#fail(error, json && !terminal.answered);
    }
  }

  /** Tells an error and gives its exit status; with `json` stdout gets it as the one value it is owed. */
  #fail(error: unknown, json: boolean): number {
    const { signal, status } = this.#interrupt;
    const ended = signal.aborted && (error as Error).name === 'AbortError';
    const failure: Failure = ended
      ? { status, code: 'E_INTERRUPTED', message: 'ended before its work was done' }
      : failureOf(error);
    // a reader that has had enough is no failure, and one that the host refuses is told at the end
    const known = ended && (this.#stdout.closed || this.#stdout.failure !== null);
    if (!known) this.#stderr.write(failureText(failure));
    if (this.#environment.trace && error instanceof Error) this.#stderr.write(visibleLines(`${error.stack}\n`));
    if (json) this.#stdout.write(errorJson(failure));
    return failure.status;
  }
}

const unwritable = ({ code, message }: NodeJS.ErrnoException): EmulatorError =>
  new EmulatorError('E_HOST', `standard output cannot be written: ${code ?? message}`);
