/**
 * Xen's own console lines about a PV guest, in its words (X-06): register dump, page walk, stack. Sources:
 * xen/arch/x86/traps.c, xen/arch/x86/x86_64/traps.c, xen/common/domain.c.
 */
import { PAGE_SIZE, type VirtAddr } from '../../core/units.ts';
import type { Cpu } from '../../x86/cpu.ts';
import { type Stop, stop } from '../../x86/seam.ts';
import { GPR, SEG } from '../../x86/state.ts';
import { AMD64 } from '../abi/structures.ts';
import { addressOk } from '../domain.ts';
import { getM2p, INVALID_M2P } from '../mm/m2p.ts';
import type { XenPv } from './pv.ts';
import { XEN_EXTRAVERSION, XEN_MAJOR, XEN_MINOR } from './version.ts';

const hex = (value: bigint | number, digits = 16): string => value.toString(16).padStart(digits, '0');

/** Names of vectors (vector_name). */
const VECTORS = [
  ...['#DE', '#DB', 'NMI', '#BP', '#OF', '#BR', '#UD', '#NM', '#DF', 'CSO', '#TS', '#NP', '#SS', '#GP', '#PF', 'SPV'],
  ...['#MF', '#AC', '#MC', '#XM', '#VE', '#CP', '???', '???', '???', '???', '???', '???', '#HV', '#VC', '#SX'],
];
/** An error code of a vector that pushes none (X86_EVENT_NO_EC). */
const NO_ERROR_CODE = 0xffffffff;

/** A line about a vCPU of the domain (gprintk). */
function gprintk(pv: XenPv, cpu: Cpu, text: string): void {
  pv.log(`d${pv.domainId}v${cpu.id} ${text}`);
}

/** The guest has no handler for `vector`. */
export function logUnhandled(pv: XenPv, cpu: Cpu, vector: number, error: number | null): void {
  gprintk(pv, cpu, `Unhandled: vec ${vector}, ${VECTORS[vector] ?? '???'}[${hex(error ?? NO_ERROR_CODE, 4)}]`);
}

/** The end of a domain whose event could not be delivered (asm_domain_crash_synchronous). */
export function crashInEntry(pv: XenPv, cpu: Cpu, where: string): Stop {
  pv.log(`domain_crash_sync called from entry.S: ${where}`);
  return crash(pv, cpu, where);
}
/** domain_crash, called from `where` (file and line in Xen's source). */
export function domainCrash(pv: XenPv, cpu: Cpu, where: string, message: string): Stop {
  gprintk(pv, cpu, message);
  pv.log(`domain_crash called from ${where}`);
  return crash(pv, cpu, message);
}

function crash(pv: XenPv, cpu: Cpu, reason: string): Stop {
  pv.log(`Domain ${pv.domainId} (vcpu#${cpu.id}) crashed on cpu#0:`);
  logRegisters(pv, cpu);
  logStack(pv, cpu);
  return stop('crash', `domain_crash: ${reason}`);
}

/** show_registers. */
function logRegisters(pv: XenPv, cpu: Cpu): void {
  const v = pv.vcpus[cpu.id]!;
  const masked = pv.memory.read8(v.infoAddress + AMD64.vcpuInfo.at.evtchn_upcall_mask) ? 1 : 0;
  pv.log(`----[ Xen-${XEN_MAJOR}.${XEN_MINOR}${XEN_EXTRAVERSION}  x86_64  debug=y  Not tainted ]----`);
  pv.log('CPU:    0');
  pv.log(`RIP:    ${hex(cpu.selector('cs'), 4)}:[<${hex(cpu.rip)}>]`);
  pv.log(`RFLAGS: ${hex(cpu.rflags)}   EM: ${masked}   CONTEXT: pv guest (d${pv.domainId}v${cpu.id})`);
  const g = (name: keyof typeof GPR): readonly [string, bigint] => [name, cpu.gpr(GPR[name])];
  const rows: ReadonlyArray<ReadonlyArray<readonly [string, bigint]>> = [
    [g('rax'), g('rbx'), g('rcx')],
    [g('rdx'), g('rsi'), g('rdi')],
    [g('rbp'), g('rsp'), g('r8')],
    [g('r9'), g('r10'), g('r11')],
    [g('r12'), g('r13'), g('r14')],
    [g('r15'), ['cr0', cpu.get('cr0')], ['cr4', cpu.get('cr4')]],
    [
      ['cr3', cpu.get('cr3')],
      ['cr2', v.cr2],
    ],
    [
      ['fsb', cpu.get('segmentBase', SEG.fs)],
      ['gsb', cpu.get('segmentBase', SEG.gs)],
      ['gss', cpu.get('kernelGsBase')],
    ],
  ];
  for (const row of rows) pv.log(row.map(([name, value]) => `${`${name}:`.padEnd(4)} ${hex(value)}`).join('   '));
  const selectors = (['ds', 'es', 'fs', 'gs', 'ss', 'cs'] as const).map((s) => `${s}: ${hex(cpu.selector(s), 4)}`);
  pv.log(selectors.join('   '));
}

const STACK_LINES = 20;
const WORDS_PER_LINE = 4;
/** show_stack stops where the address changes in this bit: a stack of Xen's size ends there. */
const STACK_BIT = 1n << 15n;

/** show_guest_stack. */
function logStack(pv: XenPv, cpu: Cpu): void {
  const { rsp } = cpu;
  pv.log(`Guest stack trace from rsp=${hex(rsp)}:`);
  if (!addressOk(rsp)) {
    pv.log('  Guest-inaccessible memory.');
    return;
  }
  const words: string[] = [];
  let end = '';
  for (let at = rsp; words.length < STACK_LINES * WORDS_PER_LINE; at += 8n) {
    if (((at - 8n) ^ at) & STACK_BIT) break;
    const word = pv.guest.readU64(cpu, at);
    if (word === null) {
      end = 'Fault while accessing guest memory.';
      break;
    }
    words.push(hex(word));
  }
  for (let i = 0; i < words.length; i += WORDS_PER_LINE) pv.log(`   ${words.slice(i, i + WORDS_PER_LINE).join(' ')}`);
  if (end || words.length === 0) pv.log(`    ${end || 'Stack empty.'}`);
}

/** show_page_walk: the entries that translate `address` and the pseudo-physical frame of each. */
export function logPageWalk(pv: XenPv, cpu: Cpu, address: VirtAddr): void {
  pv.log(`Pagetable walk from ${hex(address)}:`);
  for (const { address: at, level, value } of pv.mmu.entries(cpu, address)) {
    const frame = Number((value >> 12n) & 0xffffffffffn);
    const pfn = pv.memory.hasFrame(frame) ? getM2p(pv.mm.domain, frame) : INVALID_M2P;
    pv.log(` L${level}[0x${hex((at % PAGE_SIZE) / 8, 3)}] = ${hex(value)} ${hex(pfn)}`);
  }
}
