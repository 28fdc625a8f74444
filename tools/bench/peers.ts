/** The emulators that are compared, and how each starts a workload. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findBochs, PEER_FOLDER, prepareBochs } from '../bochs.ts';
import type { Invocation } from './measure.ts';
import { v86 } from './v86.ts';
import { ROOT, type Workload } from './workloads.ts';

/** The command as npm installs it. */
const HINDSIGHT = join(ROOT, 'tools/hindsight.sh');

export interface Peer {
  readonly name: string;
  /** Version and settings, for the table. */
  readonly note: string;
  /** Why it cannot run, or null. */
  readonly missing: string | null;
  /** The peer whose run must come right before, because this one replays it. */
  readonly replays: string | null;
  /** The workloads it can run; null for all. */
  readonly workloads: readonly string[] | null;
  /** It runs the same image as the others: CPU seconds compare. Else only ticks per CPU second do. */
  readonly sameGuest: boolean;
  /** Makes ready what a run needs; `folder` is kept from the recording peer to the replaying one. */
  start(workload: Workload, rounds: number, folder: string): Invocation;
}

const EVERYTHING = { workloads: null, sameGuest: true } as const;

/** Where Hindsight keeps translations between the runs of one benchmark; the first of them finds nothing there. */
const codeIn = (folder: string): string => join(folder, 'code');

/** `remembers`: translations are kept from run to run, as for users; else each run is like the first. */
function hindsightRecord(name: string, tier: string, remembers: boolean): Peer {
  return {
    name,
    note: `record, ${tier} tier${remembers ? '' : ', no code from an earlier run'}`,
    missing: null,
    replays: null,
    ...EVERYTHING,
    start(workload, rounds, folder) {
      const recording = join(folder, `${name}.hs`);
      rmSync(recording, { recursive: true, force: true });
      const initrd = workload.initrd === null ? [] : ['--initrd', workload.initrd];
      return {
        command: [
          ...[HINDSIGHT, 'record', workload.kernel, ...initrd],
          ...['--memory', `${workload.megabytes}M`, '-o', recording, '--json', '--'],
          workload.commandLine('xen', rounds),
        ],
        environment: { HINDSIGHT_TIER: tier, HINDSIGHT_CODE_CACHE: remembers ? codeIn(folder) : '' },
      };
    },
  };
}
const HINDSIGHT_REPLAY: Peer = {
  name: 'hindsight-replay',
  note: 'replay with all checks, hot tier',
  missing: null,
  replays: 'hindsight',
  ...EVERYTHING,
  start: (_workload, _rounds, folder) => ({
    command: [HINDSIGHT, 'replay', join(folder, 'hindsight.hs'), '--console'],
    environment: { HINDSIGHT_TIER: 'hot', HINDSIGHT_CODE_CACHE: codeIn(folder) },
  }),
};

function qemu(name: string, mode: 'record' | 'replay' | null): Peer {
  const { status, stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  const version = /version ([\d.]+)/.exec(stdout ?? '')?.[1] ?? '';
  return {
    name,
    note: `QEMU ${version}, TCG${mode === null ? '' : `, icount shift=auto, rr=${mode}`}`,
    missing: status === 0 ? null : 'qemu-system-x86_64 is not installed (Debian: apt-get install qemu-system-x86)',
    replays: mode === 'replay' ? 'qemu-record' : null,
    ...EVERYTHING,
    start(workload, rounds, folder) {
      const serial = join(folder, `${name}.txt`);
      const rr = mode === null ? [] : ['-icount', `shift=auto,rr=${mode},rrfile=${join(folder, 'rr.bin')}`];
      return {
        command: [
          ...['qemu-system-x86_64', '-accel', 'tcg', '-smp', '1', '-m', String(workload.megabytes)],
          ...['-kernel', workload.kernel, ...(workload.initrd === null ? [] : ['-initrd', workload.initrd])],
          ...['-append', workload.commandLine('pc', rounds), '-display', 'none', '-monitor', 'none', '-no-reboot'],
          ...['-nic', 'none', '-serial', `file:${serial}`, ...rr],
        ],
        serial,
      };
    },
  };
}

function bochs(): Peer {
  const parts = findBochs();
  return {
    name: 'bochs',
    note: "Bochs 2.7, Debian's build, with its debugger",
    missing: typeof parts === 'string' ? parts : null,
    replays: null,
    ...EVERYTHING,
    start(workload, rounds, folder) {
      if (typeof parts === 'string') throw new Error(parts);
      const own = join(folder, 'bochs');
      mkdirSync(own, { recursive: true });
      const { kernel, initrd, megabytes, halted } = workload;
      const commandLine = workload.commandLine('pc', rounds);
      const invocation = prepareBochs(parts, own, {
        ...{ kernel, initrd, commandLine, megabytes },
        ...{ endAt: null, strictMsrs: false },
      });
      return halted === null ? invocation : { ...invocation, killAt: halted };
    },
  };
}

/** In the order in which they run; the first is the one that all others are compared with. */
export const allPeers = (): readonly Peer[] => [
  qemu('qemu', null),
  hindsightRecord('hindsight', 'hot', true),
  HINDSIGHT_REPLAY,
  hindsightRecord('hindsight-first', 'hot', false),
  hindsightRecord('hindsight-cold', 'cold', false),
  qemu('qemu-record', 'record'),
  qemu('qemu-replay', 'replay'),
  bochs(),
  v86(PEER_FOLDER),
];
