/**
 * multicall (13): (list, count) of {op, result, args[6]}. A multicall in it is refused, and an iret ends it; an entry that is to go
 * on as another step is written back with the arguments that are left (xen/common/multicall.c, pv_do_multicall_call).
 */
import { plus } from '../../core/words.ts';
import { isStop } from '../../x86/seam.ts';
import { GPR } from '../../x86/state.ts';
import { ERRNO } from '../abi/errno.ts';
import { HYPERCALL } from '../abi/numbers.ts';
import { AMD64 } from '../abi/structures.ts';
import { arrayOk } from '../domain.ts';
import { gdprintk } from '../mm/messages.ts';
import { goesOnWith, isContinuation } from '../work.ts';
import { Call, type Hypercall } from './call.ts';

const { multicallEntry } = AMD64;
const ARGUMENTS = [0, 1, 2, 3, 4, 5];

/** What executes a call of a number, where there is one. */
type HandlerOf = (number: number) => Hypercall | undefined;

/** The call over the table that it is itself in. */
export const multicallOver =
  (handlerOf: HandlerOf): Hypercall =>
  (call) => {
    const { pv, cpu } = call;
    const count = call.u32(1);
    if (!arrayOk(call.ptr(0), count, multicallEntry.bytes)) return -ERRNO.EFAULT;
    for (let i = 0, at = call.ptr(0); i < count; i++, at = plus(at, multicallEntry.bytes)) {
      if (i > 0 && pv.work.isSpent) return goesOnWith(at, count - i);
      const entry = pv.guest.struct(cpu, at, multicallEntry);
      if (entry === null) return -ERRNO.EFAULT;
      const number = entry.u32('op');
      const inner = new Call(
        pv,
        cpu,
        ARGUMENTS.map((k) => entry.u64('args', k)),
      );
      const { rip } = cpu;
      pv.work.call();
      const answer = runEntry(inner, number, handlerOf);
      if (isStop(answer)) return answer;
      pv.traceHypercall(cpu.id, rip, 'M', number, inner.args, answer);
      if (isContinuation(answer)) {
        entry.setU64('result', BigInt(number));
        answer.goesOnWith.forEach((value, k) => {
          entry.setU64('args', value, k);
        });
        return pv.guest.write(cpu, at, entry.bytes) ? goesOnWith(at, count - i) : -ERRNO.EFAULT;
      }
      const result = answer ?? cpu.gpr(GPR.rax);
      const written = pv.guest.writeU64(cpu, at + BigInt(multicallEntry.at.result), BigInt.asUintN(64, BigInt(result)));
      if (number === HYPERCALL.iret) return null;
      if (!written) return -ERRNO.EFAULT;
    }
    return 0;
  };

function runEntry(call: Call, number: number, handlerOf: HandlerOf): ReturnType<Hypercall> {
  if (number === HYPERCALL.multicall) {
    gdprintk(call.pv.mm.domain, 'multicall.c:47', 'Multicall reentry is disallowed.');
    return -ERRNO.EINVAL;
  }
  const run = handlerOf(number);
  return run === undefined ? -ERRNO.ENOSYS : run(call);
}
