/** What every TraceStore does: run by the tests of each implementation. */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type {
  JournalEntry,
  NewRecording,
  Recording,
  RecordingHeader,
  SlotRun,
  SnapshotPage,
  TraceStore,
} from '../../src/timeline/trace-store.ts';

const HEADER: RecordingHeader = {
  semanticsVersion: 3,
  toolVersion: '0.1.0',
  createdMs: 1_700_000_000_123,
  memoryBytes: 256 << 20,
  vcpus: 1,
  cpuPolicy: 'x86-64-v1',
  nsPerTick: 1,
  tscKhz: 1_000_000,
  commandLine: 'console=hvc0 "quoted" ö',
  seed: 0xfedc_ba98_7654_3210n,
  epochSeconds: 1_767_225_600,
  settings: { tlb: 'walk', idle: '30' },
};

/** A page whose contents follow from a number; 0 is the page of zeroes. */
function page(content: number): Uint8Array {
  const bytes = new Uint8Array(4096);
  let x = content;
  if (content !== 0)
    for (let i = 0; i < 4096; i += 4) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
      new DataView(bytes.buffer).setUint32(i, i % 64 < 32 ? x : content, true);
    }
  return bytes;
}
const hashOf = (bytes: Uint8Array): Uint8Array => createHash('md5').update(bytes).digest();
const pages = (contents: Record<number, number>): SnapshotPage[] =>
  Object.entries(contents).map(([slot, content]) => {
    const bytes = page(content);
    return { slot: Number(slot), hash: hashOf(bytes), bytes };
  });

const text = (s: string): Uint8Array => new TextEncoder().encode(s);

/** Declares the contract's tests for the stores that `make` makes, each empty. */
export function traceStoreContract(name: string, make: () => TraceStore): void {
  describe(`TraceStore: ${name}`, () => {
    let store: TraceStore;
    beforeEach(() => {
      store = make();
    });
    const create = (blobs = new Map<string, Uint8Array>()): Promise<NewRecording> =>
      store.create('boot', HEADER, blobs);
    const reopen = async (recording: Recording): Promise<Recording> => {
      await recording.close();
      return store.open('boot', HEADER.semanticsVersion);
    };

    async function* liveAndReopened(recording: Recording): AsyncGenerator<Recording> {
      yield recording;
      yield await reopen(recording);
    }

    it('[X-02] keeps the header and the images', async () => {
      const kernel = Uint8Array.from({ length: 9_000_000 }, (_, i) => (i * i) >>> 7);
      const blobs = new Map([
        ['kernel', kernel],
        ['symbols', text('ffffffff81000000 T _text\n')],
        ['empty', new Uint8Array(0)],
      ]);
      const recording = await create(blobs);
      await recording.flush();
      kernel.fill(0);
      const expected = Uint8Array.from({ length: 9_000_000 }, (_, i) => (i * i) >>> 7);
      for await (const at of liveAndReopened(recording)) {
        expect(at.header).toEqual(HEADER);
        expect(Buffer.compare(at.blob('kernel')!, expected)).toBe(0);
        expect(at.blob('symbols')).toEqual(blobs.get('symbols'));
        expect(at.blob('empty')).toEqual(new Uint8Array(0));
        expect(at.blob('ramdisk')).toBeNull();
        expect(at.end).toBeNull();
        expect(at.blocks).toEqual([]);
      }
    });

    it('[X-02] keeps journal entries, digests and hashes, block by block', async () => {
      const first: JournalEntry[] = [
        { tick: 0, kind: 'timer', detail: 'periodic:0' },
        { tick: 5, kind: 'input', device: 'console', data: text('ls\r') },
        { tick: 5, kind: 'idle', detail: '3999999' },
        { tick: 6, kind: 'idle', detail: '0' },
        { tick: 4_000_000_000_000, kind: 'timer', detail: 'singleshot:0 time:0' },
        { tick: 4_000_000_000_000, kind: 'switch', detail: '007' },
        { tick: 4_000_000_000_001, kind: 'idle', detail: '9007199254740993' },
      ];
      const second: JournalEntry[] = [
        { tick: 4_000_000_000_100, kind: 'input', device: 'console', data: new Uint8Array(0) },
        { tick: 4_000_000_000_100, kind: 'input', device: 'disk ü', data: text('sector') },
        { tick: 4_000_000_000_100, kind: 'timer', detail: 'disk ü' },
        { tick: 4_000_000_000_100, kind: 'input', device: 'console', data: text('x') },
      ];
      const recording = await create();
      for (const entry of first) recording.append(entry);
      recording.digest(1 << 20, 0xffff_ffff_ffff_fffen);
      recording.digest(2 << 20, 1n);
      recording.endBlock(4_000_000_000_100, (1n << 127n) + 5n);
      for (const entry of second) recording.append(entry);
      recording.endBlock(4_000_000_000_100, 0n);
      await recording.flush();
      for await (const at of liveAndReopened(recording)) {
        expect(at.blocks.map((b) => [b.sequence, b.firstTick, b.lastTick, b.stateHash])).toEqual([
          [0, 0, 4_000_000_000_100, (1n << 127n) + 5n],
          [1, 4_000_000_000_100, 4_000_000_000_100, 0n],
        ]);
        expect(at.block(0).entries).toEqual(first);
        expect(at.block(0).digests).toEqual([
          { tick: 1 << 20, value: 0xffff_ffff_ffff_fffen },
          { tick: 2 << 20, value: 1n },
        ]);
        expect(at.block(1).entries).toEqual(second);
      }
    });

    it('[X-02] takes over what it is given: later changes of the caller do not show', async () => {
      const recording = await create();
      const data = text('abc');
      const live = page(7);
      const sections = new Map([['cpu0', text('state')]]);
      recording.append({ tick: 1, kind: 'input', device: 'console', data });
      recording.endBlock(1, 1n);
      recording.putSnapshot({
        tick: 1,
        stateHash: 1n,
        sections,
        base: null,
        pages: [{ slot: 0, hash: hashOf(live), bytes: live }],
      });
      data.fill(0);
      live.fill(0);
      sections.get('cpu0')!.fill(0);
      const at = await reopen(recording);
      expect(at.block(0).entries).toEqual([{ tick: 1, kind: 'input', device: 'console', data: text('abc') }]);
      expect(Buffer.from(at.snapshot(1).page(0)!).equals(page(7))).toBe(true);
      expect(at.snapshot(1).sections.get('cpu0')).toEqual(text('state'));
    });

    it('[X-02] drops the block that was not closed', async () => {
      const recording = await create();
      recording.append({ tick: 1, kind: 'timer', detail: 'a' });
      recording.endBlock(10, 1n);
      recording.append({ tick: 11, kind: 'timer', detail: 'b' });
      const at = await reopen(recording);
      expect(at.blocks.length).toBe(1);
      expect(at.block(0).entries).toEqual([{ tick: 1, kind: 'timer', detail: 'a' }]);
    });

    it('[X-02] keeps the end record; nothing can be journaled after it', async () => {
      const recording = await create();
      recording.endBlock(99, 5n);
      const end = {
        tick: 99,
        stateHash: 5n,
        verdict: 'panic',
        message: 'VFS: Unable to mount root fs',
        place: { tick: 97, vcpu: 0, rip: 0xffffffff81a01cb0n },
      };
      await recording.finish(end);
      expect(recording.end).toEqual(end);
      expect(() => recording.append({ tick: 100, kind: 'timer', detail: '' })).toThrow('closed');
      expect(() => recording.endBlock(100, 0n)).toThrow('closed');
      expect((await reopen(recording)).end).toEqual(end);
    });

    const withSnapshots = async (): Promise<NewRecording> => {
      const recording = await create();
      const put = (tick: number, base: number | null, contents: Record<number, number>): void =>
        recording.putSnapshot({
          tick,
          base,
          stateHash: BigInt(tick),
          sections: new Map([['loop', text(`at ${tick}`)]]),
          pages: pages(contents),
        });
      put(100, null, { 0: 1, 1: 2, 2: 0, 5: 1 });
      put(300, 100, { 1: 3, 2: 4, 5: 0 });
      put(200, 100, { 1: 3, 7: 2 });
      put(400, 300, { 1: 2, 9: 9 });
      await recording.flush();
      return recording;
    };

    it('[X-02] snapshots give back sections and pages, through any number of bases', async () => {
      const recording = await withSnapshots();
      const same = (bytes: Uint8Array | null, content: number | null): void => {
        expect(bytes === null ? null : hashOf(bytes)).toEqual(content === null ? null : hashOf(page(content)));
      };
      for await (const at of liveAndReopened(recording)) {
        const contents: Record<number, Record<number, number>> = {
          100: { 0: 1, 1: 2, 2: 0, 5: 1 },
          200: { 0: 1, 1: 3, 2: 0, 5: 1, 7: 2 },
          300: { 0: 1, 1: 3, 2: 4, 5: 0 },
          400: { 0: 1, 1: 2, 2: 4, 5: 0, 9: 9 },
        };
        for (const [tick, expected] of Object.entries(contents)) {
          const snapshot = at.snapshot(Number(tick));
          expect(snapshot.sections).toEqual(new Map([['loop', text(`at ${tick}`)]]));
          expect(snapshot.stateHash).toBe(BigInt(tick));
          expect(snapshot.slots()).toEqual(Object.keys(expected).map(Number));
          for (let slot = 0; slot < 12; slot++) {
            same(snapshot.page(slot), expected[slot] ?? null);
            const hash = snapshot.pageHash(slot);
            expect(hash === null ? null : Uint8Array.from(hash)).toEqual(
              expected[slot] === undefined ? null : Uint8Array.from(hashOf(page(expected[slot]))),
            );
          }
        }
        expect(at.snapshot(400).differing(300)).toEqual([1, 9]);
        expect(at.snapshot(300).differing(200)).toEqual([2, 5, 7]);
        expect(at.snapshot(100).differing(null)).toEqual([0, 1, 2, 5]);
        expect(at.snapshot(400).differing(100)).toEqual([2, 5, 9]);
      }
    });

    it('[X-02] lists snapshots by tick with what was dirty, and finds the last one before a tick', async () => {
      const recording = await withSnapshots();
      for await (const at of liveAndReopened(recording)) {
        const slotsOf = (dirty: readonly SlotRun[]): number[] =>
          dirty.flatMap(({ slot, length }) => Array.from({ length }, (_, i) => slot + i));
        expect(at.snapshots.map((s) => [s.tick, s.base, slotsOf(s.dirty)])).toEqual([
          [100, null, [0, 1, 2, 5]],
          [200, 100, [1, 7]],
          [300, 100, [1, 2, 5]],
          [400, 300, [1, 9]],
        ]);
        expect([99, 100, 250, 1e9].map((tick) => at.snapshotBefore(tick)?.tick ?? null)).toEqual([null, 100, 200, 400]);
        await at.verify();
      }
    });

    it('[X-02] snapshots may be added once the end is recorded, page contents are stored once', async () => {
      const recording = await withSnapshots();
      await recording.finish({
        tick: 0,
        stateHash: 0n,
        verdict: 'limit',
        message: '',
        place: { tick: 0, vcpu: 0, rip: 0n },
      });
      const before = recording.sizes.snapshotBytes;
      const contents = pages({ 3: 9, 4: 1, 6: 2 });
      recording.putSnapshot({ tick: 350, base: 300, stateHash: 9n, sections: new Map(), pages: contents });
      expect(hashOf(recording.snapshot(350).page(3)!)).toEqual(hashOf(page(9)));
      await recording.flush();
      expect(recording.sizes.snapshotBytes - before).toBeLessThan(1000);
      const at = await reopen(recording);
      expect(at.snapshots.map((s) => s.tick)).toEqual([100, 200, 300, 350, 400]);
      expect(hashOf(at.snapshot(350).page(4)!)).toEqual(hashOf(page(1)));
      await at.close();
    });

    it('[X-02] hashes may depend on the slot: each slot gives back its own', async () => {
      const recording = await create();
      const slotHash = (slot: number): Uint8Array => hashOf(Uint8Array.of(slot));
      recording.putSnapshot({
        tick: 1,
        base: null,
        stateHash: 0n,
        sections: new Map(),
        pages: [3, 4, 5].map((slot) => ({ slot, hash: slotHash(slot), bytes: page(0) })),
      });
      for await (const at of liveAndReopened(recording))
        for (const slot of [3, 4, 5]) {
          expect(Uint8Array.from(at.snapshot(1).pageHash(slot)!)).toEqual(Uint8Array.from(slotHash(slot)));
          expect(Uint8Array.from(at.snapshot(1).page(slot)!)).toEqual(page(0));
        }
    });

    it('[X-02] a thousand pages over many chunks', async () => {
      const recording = await create();
      const contents = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i * 3, i + 1]));
      recording.putSnapshot({ tick: 1, base: null, stateHash: 0n, sections: new Map(), pages: pages(contents) });
      await recording.drained();
      const snapshot = (await reopen(recording)).snapshot(1);
      for (let i = 999; i >= 0; i -= 7) expect(Buffer.from(snapshot.page(i * 3)!).equals(page(i + 1))).toBe(true);
    });

    it('[X-02] is read by any number of others while it is made: what had been flushed is there', async () => {
      const recording = await create(new Map([['kernel', text('image')]]));
      for (let round = 1; round <= 3; round++) {
        const entry: JournalEntry = { tick: round * 10 - 5, kind: 'timer', detail: String(round) };
        recording.append(entry);
        recording.endBlock(round * 10, BigInt(round));
        recording.putSnapshot({
          tick: round * 10,
          base: null,
          stateHash: BigInt(round),
          sections: new Map([['loop', text(`at ${round}`)]]),
          pages: pages({ 0: round, 5: 1 }),
        });
        await recording.flush();
        const readers = await Promise.all(Array.from({ length: 3 }, () => store.open('boot', 3)));
        for (const at of readers) {
          expect([at.end, at.blob('kernel')]).toEqual([null, text('image')]);
          expect(at.block(round - 1).entries).toEqual([entry]);
          expect(hashOf(at.snapshot(round * 10).page(0)!)).toEqual(hashOf(page(round)));
          await at.verify();
        }
        if (recording !== (readers[0] as Recording)) for (const at of readers) await at.close();
      }
      await recording.close();
    });

    it('[X-02] lists, names the latest, removes', async () => {
      expect(await store.list()).toEqual([]);
      expect(await store.latest()).toBeNull();
      for (const [name, createdMs] of [
        ['b', 2000],
        ['c', 1000],
        ['a', 3000],
      ] as const) {
        const recording = await store.create(name, { ...HEADER, createdMs }, new Map());
        recording.endBlock(createdMs, 0n);
        await recording.close();
      }
      expect((await store.list()).map((r) => [r.name, r.lastTick, r.problem])).toEqual([
        ['c', 1000, null],
        ['b', 2000, null],
        ['a', 3000, null],
      ]);
      expect(await store.latest()).toBe('a');
      await store.remove('a');
      expect(await store.latest()).toBe('b');
      await expect(store.remove('a')).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    });

    it('[X-02] refuses what does not exist, a name that is taken, another semantics version', async () => {
      await expect(store.open('boot', 3)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
      await (await create()).close();
      await expect(create()).rejects.toMatchObject({ code: 'E_USAGE' });
      await expect(store.open('boot', 4)).rejects.toMatchObject({ code: 'E_SEMANTICS' });
    });
  });
}
