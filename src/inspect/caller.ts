/**
 * Which frame of a backtrace a person wants to see: the first outside the code that prints, panics and takes exceptions.
 * The names are those of Linux, NetBSD, mini-os and our own test kernels.
 */
import type { Frame } from './backtrace.ts';

/** Whole names of functions that panic, or report that something died. */
const PANIC = [
  /^(v|nmi_|__)?panic$/,
  /^(__)?(die|oops|bust_spinlocks|report_bug|handle_bug|exit_bug)(_|$)/,
  /^(oops|show|dump|print_stack|print_trace|__?warn|warn_slowpath|check_panic)_/,
  /^__?warn$/,
  /^(page_fault_oops|kernelmode_fixup_or_oops|fixup_exception|search_exception_tables|exc_\w+|do_error_trap|do_trap\w*)$/,
  /^(bad_area\w*|no_context|__bad_area\w*|do_(user|kern)_addr_fault|handle_page_fault|do_page_fault|spurious_\w+fault)$/,
  /^(xen_)?asm_exc_|^asm_|^error_entry$|^error_return$|^xen_panic_event$|^(atomic_|raw_|blocking_)?notifier_call_chain$/,
  /^(emergency_restart|machine_(restart|halt|power_off|crash_shutdown)|native_machine_\w+|xen_(reboot|emergency_restart|machine_\w+))$/,
  /^(crash_kexec|__crash_kexec|panic_\w+|kmsg_dump)$/,
  // NetBSD and mini-os
  /^(kern_assert|cpu_reboot|kern_reboot|db_\w+|trap|alltraps|calltrap|do_exit|crash|give_up|fail|BUG)$/,
];
/** Functions that bring text to a console. */
const CONSOLE = [
  /^_?(v|s|sn|vsn|k|vk|a|e)?printk?(f|s)?(_|$)/,
  /^(dev_|netdev_|_dev_)?v?printk\w*$|^_dev_\w+$|^pr_\w+$|^printk_\w+$|^vprintk\w*$|^print(_\w+)?$/,
  /console|^prom_|^hvc_|^xencons|^cn(put|flush|get|poll)|^tty_|^n_tty_|^uart_|^serial\w*_|^early_(\w+_)?(write|print|vga)/,
  /^(record_print_text|msg_print_text|syslog_print\w*|devkmsg_\w+|call_console_drivers|wake_up_klogd)$/,
  /^(xen_raw_printk|xenboot_write|dom0_write|domU_write|xprintk|HYPERVISOR_)/,
  /^(puts?|put_?char|puts_\w+|write_(str|char|number|hex)|log(_\w+)?)$/,
];
/** Helpers that either kind calls on the way: passed over only where one of those follows. */
const HELPERS =
  /^(hypercall|xen_hypercall|_?hypercall\d|__x86_|_raw_|__raw_|raw_|mem(cpy|set|move)|__mem|str|notify_|evtchn_|xen_(irq|save|restore|force)|down_|up_|mutex_|native_|pv_|paravirt_|irq_|__irq|arch_|rcu_|__local_bh|delay|__delay|__const_udelay|udelay|ndelay|__udelay)/;

/** The bare name of a frame's function: without offset, module and what the compiler appends (`.cold`, `.isra.0`). */
export function functionName(frame: Frame): string | null {
  const name = /^[^+. ]*/.exec(frame.symbol ?? '')![0];
  return name === '' ? null : name;
}

/** True for a function that prints, panics or takes exceptions. */
export const isReporting = (name: string): boolean =>
  PANIC.some((pattern) => pattern.test(name)) || CONSOLE.some((pattern) => pattern.test(name));

/** The first frame outside console and panic code, as `name+0x1f`; null when there is none with a name. */
export function callerOf(frames: readonly Frame[]): string | null {
  const named = frames.filter((frame) => functionName(frame) !== null);
  const first = named.findIndex((frame) => isReporting(functionName(frame)!));
  const onTheWay = first >= 0 && named.slice(0, first).every((frame) => HELPERS.test(functionName(frame)!));
  if (!onTheWay) return named[0]?.symbol ?? null;
  return (
    named.slice(first).find((f) => !isReporting(functionName(f)!) && !HELPERS.test(functionName(f)!))?.symbol ?? null
  );
}
