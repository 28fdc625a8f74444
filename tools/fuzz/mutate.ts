/** Breaks sources on purpose: a file is changed as it is loaded, in a process of its own. */
import { spawn } from 'node:child_process';
import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A way to break a source, which the fuzzer has to find. */
export interface Mutation {
  readonly name: string;
  /** Relative to src. */
  readonly file: string;
  /** Text that stands in the file once, and what takes its place. */
  readonly find: string;
  readonly replace: string;
}

const SRC = resolve(import.meta.dirname, '../../src');
/** CPU seconds in which a mutation must be found. */
const LIMIT = 60;

/** From now on the file that the mutation is about is loaded broken; throws when the mutation does not fit it. */
export function breakSource(name: string, mutations: readonly Mutation[]): void {
  const mutation = mutations.find((x) => x.name === name);
  if (mutation === undefined)
    throw new RangeError(`no mutation ${name}; there are ${mutations.map((x) => x.name).join(', ')}`);
  const path = resolve(SRC, mutation.file);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.startsWith('file:') || fileURLToPath(url) !== path) return loaded;
      return { ...loaded, source: broken(mutation, new TextDecoder().decode(loaded.source as Uint8Array)) };
    },
  });
}

/** The source with the mutation. */
export function broken({ name, find, replace }: Mutation, source: string): string {
  const parts = source.split(find);
  if (parts.length !== 2)
    throw new RangeError(`mutation ${name}: its text stands ${parts.length - 1} times in the file`);
  return parts.join(replace);
}

interface Found {
  readonly status: number | null;
  readonly seconds: number;
  readonly output: string;
}
function run(tool: string, mutation: Mutation): Promise<Found> {
  const start = performance.now();
  return new Promise((done) => {
    const args = [tool, '--mutation', mutation.name, '--minutes', '5', '--cpu-seconds', String(LIMIT), '--brief'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        output += data;
      });
    child.on('exit', (status) => done({ status, seconds: (performance.now() - start) / 1000, output }));
  });
}

/** Runs the fuzzer once for each mutation; exit status 1 when one is not found within a minute. */
export async function mutate(tool: string, mutations: readonly Mutation[]): Promise<number> {
  let missed = 0;
  for (const mutation of mutations) {
    const { status, seconds, output } = await run(tool, mutation);
    const first = output.split('\n').find((line) => /MISMATCH|Error|mutation/.test(line)) ?? '';
    const found = status === 1 && /MISMATCH|AssertionError|CompileError|RuntimeError/.test(output);
    if (!found) missed++;
    console.log(
      `${found ? 'found ' : 'MISSED'} ${seconds.toFixed(1).padStart(5)} s  ${mutation.name.padEnd(44)} ${first.slice(0, 110)}`,
    );
  }
  console.log(`${mutations.length - missed} of ${mutations.length} mutations found within ${LIMIT} CPU s each`);
  return missed > 0 ? 1 : 0;
}
