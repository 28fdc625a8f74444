/**
 * The one place that knows how to get from "some Node" to the project's own Node 24. Plain JavaScript for Node 20 and
 * later, and nothing from node_modules: it also runs in a fresh clone.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout's top folder. */
export const ROOT = resolve(fileURLToPath(import.meta.url), '../..');

const MODULES = join(ROOT, 'node_modules');
const NODE = join(MODULES, '.bin', process.platform === 'win32' ? 'node.exe' : 'node');

const INSTALLED_LOCK = join(MODULES, '.package-lock.json');

const readLock = (path) => JSON.parse(readFileSync(path, 'utf8')).packages ?? {};

/** Says why node_modules does not match package-lock.json; null when it does. */
function missingInstallation() {
  if (!existsSync(INSTALLED_LOCK)) return 'node_modules is not there yet';
  if (!existsSync(NODE)) return 'the Node of node_modules is not there';
  const installed = readLock(INSTALLED_LOCK);
  for (const [path, wanted] of Object.entries(readLock(join(ROOT, 'package-lock.json')))) {
    if (path === '' || wanted.optional || wanted.peer) continue;
    if (installed[path]?.version !== wanted.version) return `${path} ${wanted.version} is not installed`;
  }
  return null;
}

/** Dates the installation now, which tells hindsight.sh that it fits; one that may not be written stays as it is. */
function markInstalled() {
  try {
    utimesSync(INSTALLED_LOCK, new Date(), new Date());
  } catch {
    // hindsight.sh asks again next time
  }
}

/**
 * Links the command into node_modules/.bin, where `npx hindsight` finds it. No `bin` in package.json does that: with one, npx installs
 * the project below npm's cache and runs what it finds there, or what is left of it. An installation that may not be written stays
 * as it is.
 */
export function linkCommand() {
  const link = join(MODULES, '.bin/hindsight');
  const target = '../../tools/hindsight.sh';
  try {
    if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(link) === target) return;
    rmSync(link, { force: true });
    symlinkSync(target, link);
  } catch {
    // npx goes the long way
  }
}

/** Runs `npm ci` when node_modules does not match the lock file; ends the process with npm's status when that fails. */
export function ensureInstalled() {
  const reason = missingInstallation();
  const linked = existsSync(MODULES) && lstatSync(MODULES).isSymbolicLink();
  if (reason === null) {
    if (!linked) {
      linkCommand();
      markInstalled();
    }
    return;
  }
  if (linked) {
    console.error(`hindsight: ${reason}; node_modules is a link and is left alone`);
    return;
  }
  console.error(`hindsight: ${reason}; running npm ci (once, needs the network or a filled npm cache)`);
  const npm = process.env.npm_execpath;
  const [command, prefix] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
  const args = [...prefix, 'ci', '--no-audit', '--no-fund'];
  // npm's own lines go to stderr: stdout belongs to the verb, which may print JSON.
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ['inherit', 2, 2] });
  if (error || status !== 0) {
    console.error(`hindsight: npm ci failed${error ? `: ${error.message}` : ` with status ${status}`}`);
    process.exit(status || 1);
  }
  if (!existsSync(NODE)) {
    console.error(
      `hindsight: npm ci left no ${NODE}; install scripts may be switched off (npm config get ignore-scripts)`,
    );
    process.exit(1);
  }
}

/** Where Node keeps what it made of the sources (types stripped, bytecode); a folder that cannot be written is no error. hindsight.sh names it too. */
const COMPILED = join(MODULES, '.cache', 'hindsight-compile');
/** Where the CLI keeps machine code of kernels' hot code (src/cli/local/compiled-code.ts); the same holds. */
const CODE = join(MODULES, '.cache', 'hindsight-code');
/** Where tools/prepare-handlers.ts leaves machine code of handlers (src/cli/local/prepared-handlers.ts); the same holds. */
const HANDLERS = join(MODULES, '.cache', 'hindsight-handlers');

/** Runs the project's Node with these arguments and ends this process as that one ended: same status or same signal. */
export function runNode(args) {
  const env = {
    NODE_COMPILE_CACHE: COMPILED,
    HINDSIGHT_CODE_CACHE: CODE,
    HINDSIGHT_HANDLERS: HANDLERS,
    ...process.env,
  };
  const child = spawn(NODE, args, { stdio: 'inherit', env });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // A terminal sends Ctrl-C to both of us; without a terminal only we got it.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  child.on('error', (error) => {
    console.error(`hindsight: cannot run ${NODE}: ${error.message}`);
    process.exit(1);
  });
  child.on('exit', (status, signal) => {
    if (signal === null) process.exit(status);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
