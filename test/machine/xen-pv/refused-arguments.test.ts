import { expect, test } from 'vitest';
import type { Look, NamedEvent } from '../../../src/machine/explanation.ts';
import { blameArguments } from '../../../src/machine/xen-pv/refused-arguments.ts';

const LIST = 0xffffffff80010000n;
/** A list of frames from 0x100 on, wherever it is read; counts its reads. */
class List {
  reads = 0;
  readonly look = {
    read: (_space: string, address: bigint) => {
      this.reads++;
      return 0x100n + (address - LIST) / 8n;
    },
    translate: (address: bigint) => address & 0xffffffn,
  } as unknown as Look;
}
const setGdt = (entries: bigint): NamedEvent => ({
  kind: 'hypercall',
  name: 'set_gdt',
  ...{ vcpu: 0, rip: 0n, text: '' },
  fields: { arg0: LIST, arg1: entries, result: -22n },
});

test('[C-07] of a list of frames the one that Xen names is blamed', () => {
  const { look } = new List();
  const blame = blameArguments(look, setGdt(2048n), ['Error while validating mfn 0x102', 'Error mfn 102']);
  expect(blame).toMatchObject({ text: 'frame 2 of the list is 0x102', bytes: 8 });
});

test('[X-02] a call that asks for more frames than there can be is looked at in bounded time', () => {
  const list = new List();
  expect(blameArguments(list.look, setGdt(2n ** 64n - 1n), ['Error mfn 7fffffff'])).not.toBeNull();
  expect(list.reads).toBeLessThan(20);
});
