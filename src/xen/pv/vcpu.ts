/**
 * What Xen keeps for one vCPU of a PV domain beside the architectural registers (xen/include/asm-x86/domain.h, struct
 * pv_vcpu, and the scheduler's part). All of it is in the snapshot and in the hash.
 */
import { bool, type Infer, integer, list, optional, struct, u8, u16, u32, u64 } from '../../core/schema.ts';
import { RUNSTATE } from '../abi/numbers.ts';

/** One entry of the guest's trap table (public/arch-x86/xen.h, struct trap_info). `address` 0 = no handler. */
const trapInfo = struct({ flags: u8, cs: u16, address: u64 });
export type TrapInfo = Infer<typeof trapInfo>;
/** Bits of `flags`: the privilege that INT n needs, and whether entry masks events. */
export const TI = { dplMask: 3, maskEvents: 4 } as const;
export const NO_HANDLER: TrapInfo = { flags: 0, cs: 0, address: 0n };
/** A trap table without a handler. */
export const newTrapTable = (): TrapInfo[] => Array.from({ length: 256 }, () => ({ ...NO_HANDLER }));
const callback = struct({ address: u64, maskEvents: bool });
export type Callback = Infer<typeof callback>;

export const vcpuState = struct({
  initialised: bool,
  /** VPF_down: not runnable until VCPUOP_up. */
  down: bool,
  /** TF_kernel_mode: both modes run at CPL 3 on amd64. */
  kernelMode: bool,
  kernelSs: u16,
  kernelSp: u64,
  traps: list(trapInfo),
  eventCallback: callback,
  failsafeCallback: callback,
  syscallCallback: callback,
  syscall32Callback: callback,
  sysenterCallback: callback,
  /** Machine frame of the kernel's top-level table, and of the user's (0 = none). */
  kernelTable: integer,
  userTable: integer,
  /** ctrlreg[0] as far as the guest owns it: only TS. */
  taskSwitched: bool,
  cr2: u64,
  cr4: u64,
  /** IOPL bits in their RFLAGS position. */
  iopl: u32,
  /** Guest address of the I/O permission bitmap and the number of ports it covers. */
  ioBitmap: u64,
  ioBitmapPorts: u32,
  /** GDT frames set by set_gdt and the number of entries they hold. */
  gdtFrames: list(integer),
  gdtEntries: u32,
  ldtBase: u64,
  ldtEntries: u32,
  debug: list(u64),
  /** MCG_STATUS, which keeps what is written to it. */
  mcgStatus: u64,
  /** Machine address of this vCPU's vcpu_info, and whether the guest has moved it. */
  infoAddress: integer,
  infoRegistered: bool,
  /** Virtual address of the runstate area, or 0. */
  runstateArea: u64,
  runstate: struct({ state: u8, entryTime: integer, time: list(integer) }),
  /** Asleep in SCHEDOP_block. */
  blocked: bool,
  /** Ports SCHEDOP_poll named, while it waits; null otherwise. */
  polling: optional(list(u32)),
  /** End of a poll in ns of system time, or null. */
  pollTimeout: optional(integer),
  /** set_timer_op and VCPUOP_set_singleshot_timer share this deadline (ns), null when stopped. */
  singleshot: optional(integer),
  /** Periodic timer: period in ns (0 = stopped) and next expiry. */
  periodicPeriod: integer,
  periodicNext: integer,
  /** Next refresh of vcpu_time_info (ns). */
  timeRefresh: integer,
});
export type VcpuState = Infer<typeof vcpuState>;

/** Xen starts every vCPU with its periodic timer on (D-39). */
const DEFAULT_PERIOD_NS = 10_000_000;

/** The state of a vCPU that has been created but not initialised. */
export function newVcpuState(infoAddress: number): VcpuState {
  const none = (): Callback => ({ address: 0n, maskEvents: false });
  return {
    initialised: false,
    down: true,
    kernelMode: true,
    kernelSs: 0,
    kernelSp: 0n,
    traps: newTrapTable(),
    eventCallback: none(),
    failsafeCallback: none(),
    syscallCallback: none(),
    syscall32Callback: none(),
    sysenterCallback: none(),
    kernelTable: 0,
    userTable: 0,
    taskSwitched: false,
    cr2: 0n,
    cr4: 0n,
    iopl: 0,
    ioBitmap: 0n,
    ioBitmapPorts: 0,
    gdtFrames: [],
    gdtEntries: 0,
    ldtBase: 0n,
    ldtEntries: 0,
    debug: Array.from({ length: 8 }, () => 0n),
    mcgStatus: 0n,
    infoAddress,
    infoRegistered: false,
    runstateArea: 0n,
    runstate: { state: RUNSTATE.offline, entryTime: 0, time: [0, 0, 0, 0] },
    blocked: false,
    polling: null,
    pollTimeout: null,
    singleshot: null,
    periodicPeriod: DEFAULT_PERIOD_NS,
    periodicNext: DEFAULT_PERIOD_NS,
    timeRefresh: 0,
  };
}
