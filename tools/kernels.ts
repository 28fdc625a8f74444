/**
 * Debian's kernels from 5.10 to the newest, those of each series by the suites' own lists, tried whole: `node tools/run.mjs kernels [SUITE ...]`. A kernel boots
 * to /init of the initrd of `npm run guests` and powers off, or is the storm that PREEMPT_RT is on Xen; without a root it panics, and `why`
 * names the caller; both recordings replay. `--json` prints the results as one JSON value. Packages and images stay in .cache/guests/suites.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { commandLine, refuse } from './command-line.ts';
import { FLAVOURS, type Flavour, PackageSource } from './guests/packages.ts';

const ROOT = resolve(import.meta.dirname, '..');
const GUESTS = join(ROOT, '.cache/guests');
const INITRD = join(GUESTS, 'debian/initrd.gz');
/** Debian 11, 12, 13 and what is to come. */
const SUITES = ['bullseye', 'bookworm', 'trixie', 'sid'] as const;
/** A storm is told long before; a boot takes some four milliards. */
const LIMIT = 30_000_000_000;

interface Tried {
  readonly suite: string;
  readonly kernel: string;
  /** Of the package. */
  readonly version: string;
  readonly boot: {
    readonly verdict: string;
    readonly message: string;
    readonly ticks: number;
    readonly replays: boolean;
  };
  /** Null of a kernel that does not come so far. */
  readonly withoutRoot: { readonly verdict: string; readonly caller: string | null; readonly replays: boolean } | null;
}

const log = (line: string): void => console.error(`kernels: ${line}`);

function hindsight<T>(folder: string, ...words: readonly string[]): T {
  const script = join(ROOT, 'tools/hindsight.sh');
  const { stdout, stderr } = spawnSync('sh', [script, ...words], { encoding: 'utf8', cwd: folder });
  const answer = stdout === '' ? { error: { message: stderr.trim() } } : (JSON.parse(stdout) as object);
  if ('error' in answer) throw new Error(`${words[0]}: ${(answer.error as { message: string }).message}`);
  return answer as T;
}
interface Recorded {
  readonly ticks: number;
  readonly verdict: { readonly kind: string; readonly message: string };
}
/** Records and replays; the recording stays under `name`. */
function tryOut(
  folder: string,
  image: string,
  name: string,
  initrd: readonly string[],
): Recorded & { replays: boolean } {
  const limits = ['--memory', '512M', '--limit-ticks', String(LIMIT)];
  const rest = ['--json', '-o', name, '--', 'console=hvc0'];
  const recorded = hindsight<Recorded>(folder, 'record', image, ...initrd, ...limits, ...rest);
  const { verified } = hindsight<{ verified: boolean }>(folder, 'replay', name, '--json');
  return { ...recorded, replays: verified };
}

function tryKernel(suite: string, name: string, flavour: Flavour, source: PackageSource): Tried {
  const { path, version } = source.kernelImage(name, flavour);
  const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
  try {
    log(`${name}-${flavour} of ${suite}: booting`);
    const { verdict, ticks, replays } = tryOut(folder, path, 'boot', ['--initrd', INITRD]);
    const boot = { verdict: verdict.kind, message: verdict.message, ticks, replays };
    if (verdict.kind !== 'poweroff') return { suite, kernel: `${name}-${flavour}`, version, boot, withoutRoot: null };
    const bare = tryOut(folder, path, 'bare', []);
    const why = hindsight<{ backtrace?: readonly { symbol: string | null }[] }>(
      folder,
      'why',
      'bare',
      '--json',
      '--no-confirm',
    );
    const caller = why.backtrace?.[1]?.symbol ?? null;
    const withoutRoot = { verdict: bare.verdict.kind, caller, replays: bare.replays };
    return { suite, kernel: `${name}-${flavour}`, version, boot, withoutRoot };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A storm is what PREEMPT_RT comes to, and no other build. */
const isAsExpected = ({ kernel, boot, withoutRoot }: Tried): boolean =>
  boot.replays &&
  (boot.verdict === 'hang'
    ? kernel.endsWith('-rt-amd64') && /storm/.test(boot.message)
    : boot.verdict === 'poweroff') &&
  (withoutRoot === null || (withoutRoot.verdict === 'panic' && withoutRoot.caller !== null && withoutRoot.replays));

function main(): number {
  const { values, positionals } = commandLine({ options: { json: { type: 'boolean' } }, allowPositionals: true });
  const unknown = positionals.find((suite) => !SUITES.some((known) => known === suite));
  if (unknown !== undefined) refuse(`${unknown}: not a suite; there are ${SUITES.join(', ')}`);
  if (!existsSync(INITRD)) refuse('no initrd: `npm run guests` makes it');
  const tried: Tried[] = [];
  let failed = false;
  for (const suite of positionals.length > 0 ? positionals : SUITES) {
    const source = PackageSource.ofSuite(join(GUESTS, 'suites', suite), log, suite);
    for (const flavour of FLAVOURS)
      for (const name of source.newestVersions(flavour)) {
        try {
          const one = tryKernel(suite, name, flavour, source);
          tried.push(one);
          if (!values.json) console.log(rowOf(one));
        } catch (error) {
          log(`${name}-${flavour} of ${suite}: ${(error as Error).message}`);
          failed = true;
        }
      }
  }
  if (values.json) console.log(JSON.stringify(tried, null, 2));
  return !failed && tried.every(isAsExpected) ? 0 : 3;
}
const rowOf = ({ suite, kernel, version, boot, withoutRoot }: Tried): string => {
  const bare =
    withoutRoot === null
      ? ''
      : `${withoutRoot.verdict} in ${withoutRoot.caller}${withoutRoot.replays ? '' : ', does not replay'}`;
  const whole = `${boot.verdict}${boot.verdict === 'poweroff' ? '' : ` (${boot.message})`}${boot.replays ? '' : ', does not replay'}`;
  return `| ${[kernel, version, suite, boot.ticks.toLocaleString('en').replaceAll(',', '_'), whole, bare].join(' | ')} |`;
};

process.exitCode = main();
