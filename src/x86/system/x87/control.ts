/** x87 control and status words, initialization and waiting (SDM vol. 2: FNINIT, FNCLEX, FLDCW, FNSTCW, FNSTSW, FWAIT, FNOP). */
import { isFault } from '../../seam.ts';
import { initialiseFpu } from '../fpu-state.ts';
import { loadOperand, type SystemHandler, type SystemTable, storeOperand, writeGpr } from '../operands.ts';
import { fwait, nonWaiting, setStatus, waiting } from './stack.ts';

/** Bits of the control word that software sets; bit 6 reads as 1. */
const CONTROL = 0x1f3f;
const CONTROL_FIXED = 0x40;
const TOP_SHIFT = 11;
/** Exception flags, SF, ES and B. */
const CLEARED = 0x80ff;

/** New masks make exceptions pending or no longer so. */
const fldcw: SystemHandler = (cpu, insn) => {
  const word = loadOperand(cpu, insn, 2);
  if (isFault(word)) return word;
  cpu.set('fcw', (Number(word) & CONTROL) | CONTROL_FIXED);
  setStatus(cpu, 0, 0);
  return null;
};
const fnstsw: SystemHandler = (cpu, insn) => {
  const word = BigInt(cpu.num('fsw') | (cpu.num('ftop') << TOP_SHIFT));
  if (insn.form.operands[0]!.place === 'mem') return storeOperand(cpu, insn, 2, word);
  writeGpr(cpu, 0, 2, word);
  return null;
};

export const X87_CONTROL: SystemTable = {
  ...waiting({ fldcw, fnop: () => null }),
  ...nonWaiting({
    fninit(cpu) {
      initialiseFpu(cpu);
      return null;
    },
    fnclex(cpu) {
      setStatus(cpu, CLEARED, 0);
      return null;
    },
    fnstcw: (cpu, insn) => storeOperand(cpu, insn, 2, BigInt(cpu.num('fcw'))),
    fnstsw,
  }),
  fwait,
};
