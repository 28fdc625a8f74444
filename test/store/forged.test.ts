// Recordings that are whole, every checksum right, and wrong in what they say: nothing is taken for granted.
import { cpSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SEMANTICS_VERSION } from '../../src/timeline/run.ts';
import { chainHash } from '../../store/journal-codec.ts';
import { LevelStore } from '../../store/level-store.ts';
import { type HeaderMessage, journalBlockCodec } from '../../store/messages.ts';
import { numbered } from '../../store/sealed.ts';
import { Forgery } from '../support/forge.ts';
import { recordGuest, timeTravelGuest } from '../support/time-travel.ts';
import { answers, verb } from '../support/verbs.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-forged-'));
const store = new LevelStore(folder);
afterAll(() => rmSync(folder, { recursive: true }));
/** Numbers of the last block and the last snapshot. */
let [lastBlock, last] = [0, 0];
beforeAll(async () => {
  const guest = timeTravelGuest('rounds=3 work=200');
  const options = { strideTicks: 5_003, flushTicks: 8_000, snapshotTicks: 24_000 };
  const { recording } = await recordGuest(guest, { store, name: 'whole', ...options });
  [lastBlock, last] = [recording.blocks.length - 1, recording.snapshots.length - 1];
  expect(lastBlock).toBeGreaterThan(1);
  expect(last).toBeGreaterThan(0);
  await recording.close();
});
/** A copy of the whole recording. */
function copy(name: string): string {
  rmSync(store.path(name), { recursive: true, force: true });
  cpSync(store.path('whole'), store.path(name), { recursive: true });
  return store.path(name);
}

describe('what a recording says', () => {
  const header = (change: (message: HeaderMessage) => void) => (forgery: Forgery) => forgery.header(change);
  const bytes = (count: number): Uint8Array => new Uint8Array(count).fill(0xff);
  const REFUSED: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    'tscKhz=0': header((m) => void (m.tscKhz = 0)),
    'tscKhz=2^53-1': header((m) => void (m.tscKhz = 2 ** 53 - 1)),
    'createdMs=NaN': header((m) => void (m.createdMs = Number.NaN)),
    'createdMs=1e300': header((m) => void (m.createdMs = 1e300)),
    'memoryBytes=2^53-1': header((m) => void (m.memoryBytes = 2 ** 53 - 1)),
    'memoryBytes=0': header((m) => void (m.memoryBytes = 0)),
    'memoryBytes=100G': header((m) => void (m.memoryBytes = 100 * 2 ** 30)),
    'vcpus=0': header((m) => void (m.vcpus = 0)),
    'vcpus=2^32-1': header((m) => void (m.vcpus = 2 ** 32 - 1)),
    'nsPerTick=0': header((m) => void (m.nsPerTick = 0)),
    'epochSeconds=2^53-1': header((m) => void (m.epochSeconds = 2 ** 53 - 1)),
    'a seed of half a megabyte': header((m) => void (m.seed = bytes(1 << 19))),
    'a command line of 2000 bytes': header((m) => void (m.commandLine = 'x'.repeat(2000))),
    'an edit at tick abc': header((m) => void (m.settings.edited = 'abc')),
    'an image of 2^40 bytes': header((m) => void (m.blobs[0]!.bytes = 2 ** 40)),
    'format version 9': header((m) => void (m.formatVersion = 9)),
    'no header': (f) => f.remove('header'),
    'an empty header': (f) => f.put('header', new Uint8Array(0)),
    'a header of nested groups': (f) => f.put('header', new Uint8Array(1 << 19).fill(0x9b)),
    'a header of two megabytes': header((m) => void (m.commandLine = 'x'.repeat(2 << 20))),
    'the verdict weird': (f) => f.end((m) => void (m.verdict = 'weird')),
    'the verdict constructor': (f) => f.end((m) => void (m.verdict = 'constructor')),
    'an end elsewhere': (f) => f.end((m) => void (m.tick += 1)),
    'a verdict behind the end': (f) => f.end((m) => void (m.placeTick = m.tick + 1)),
    'a verdict on vCPU 9': (f) => f.end((m) => void (m.placeVcpu = 9)),
    'an end hash of half a megabyte': (f) => f.end((m) => void (m.stateHash = bytes(1 << 19))),
    'a snapshot of page -5': (f) => f.snapshot(1, (m) => void (m.pageDeltas[0] = -5)),
    'a snapshot of page 2^40': (f) => f.snapshot(1, (m) => void (m.pageDeltas[0] = 2 ** 40)),
    'a snapshot with a slot twice': (f) => f.snapshot(1, (m) => void (m.slotDeltas[1] = 0)),
    'a snapshot upon itself': (f) => f.snapshot(1, (m) => void (m.base = 2)),
    'a block that ends before it begins': (f) => f.block(1, (m) => void (m.lastTick = m.firstTick - 1)),
    'a field of another version': (f) => f.put('header', Buffer.concat([f.value('header'), Uint8Array.of(0x98, 6, 1)])),
    'a field twice': (f) => f.put('header', Buffer.concat([f.value('header'), Uint8Array.of(0x10, 5)])),
    'a block with texts for nothing': (f) => f.block(1, (m) => void (m.texts = new Array(1000).fill(''))),
    'a block out of order': (f) => f.block(1, (m) => void (m.sequence = 0)),
  };
  it.each(Object.keys(REFUSED))('[X-02] %s is refused by every verb', async (name) => {
    const path = copy('forged');
    await Forgery.of(path, REFUSED[name]!);
    for (const { verb: asked, status, text } of await answers(path)) {
      expect(status, `${asked}: ${text}`).toBe(2);
      expect(text).toMatch(/E_RECORDING: ./);
    }
  });

  it('[X-02] what another version recorded is refused by every verb that would run it, and called damaged by none', async () => {
    const path = copy('foreign');
    await Forgery.of(
      path,
      header((m) => void (m.semanticsVersion = 99)),
    );
    for (const { verb: asked, status, text } of await answers(path)) {
      const runs = !['info', 'verify'].includes(asked);
      expect([asked, status]).toEqual([asked, runs ? 2 : 0]);
      if (runs) expect(text).toContain('E_SEMANTICS: ');
      expect(text).not.toContain('damaged');
    }
  });
  it('[X-02] a platform that this version lacks is told by every verb that would build its machine', async () => {
    const path = copy('platform');
    await Forgery.of(
      path,
      header((m) => void (m.settings.platform = 'pdp-11')),
    );
    for (const asked of [['replay'], ['goto', path, 'end'], ['why']]) {
      const { status, text } = await verb(asked.length > 1 ? asked : [...asked, path]);
      expect([status, text]).toEqual([
        2,
        expect.stringContaining('E_SEMANTICS: this version has no platform "pdp-11"'),
      ]);
    }
    expect(await verb(['info', path])).toMatchObject({ status: 0, text: expect.stringContaining('pdp-11') });
    expect((await verb(['verify', path])).status).toBe(0);
  });
  it('[X-02] a place of 2^32 bytes in a bulk file of 2^33 is refused before there is room made for it', async () => {
    const path = copy('place');
    truncateSync(join(path, 'bulk'), 2 ** 33);
    await Forgery.of(path, (forgery) => forgery.place(numbered('pages', 0), { at: 0, bytes: 2 ** 32 - 1 }));
    expect(await verb(['verify', path])).toEqual({
      status: 2,
      text: expect.stringContaining('page chunk 0 is too large'),
    });
  });

  const section = (name: string, change: (bytes: Uint8Array) => Uint8Array | null) => (forgery: Forgery) =>
    forgery.sections(last, (m) => {
      m.sections = m.sections.flatMap((s) => {
        if (s.name !== name) return [s];
        const changed = change(s.bytes);
        return changed === null ? [] : [{ name, bytes: changed }];
      });
    });
  const SECTIONS = ['loop', 'cpu0', 'pv', 'mm', 'frames', 'console', 'xenstore'];
  const ODD: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    ...Object.fromEntries(
      SECTIONS.flatMap((name) => [
        [`no section ${name}`, section(name, () => null)],
        [`a section ${name} cut short`, section(name, (b) => b.subarray(0, b.length >> 1))],
        [`a foreign section ${name}`, section(name, (b) => b.slice().fill(0xff))],
        [`a section ${name} of another state`, section(name, (b) => b.with(b.length >> 2, b[b.length >> 2]! ^ 1))],
      ]),
    ),
    'a foreign console log': section('observed console', (b) => b.slice().fill(0xff)),
    'no sections': (f) => f.put(numbered('sections', last), new Uint8Array(0)),
    'sections that are none': (f) => f.put(numbered('sections', last), bytes(5000)),
    'another tick': (f) => f.snapshot(last, (m) => void (m.tick -= 1)),
  };
  it.each(Object.keys(ODD))('[X-02] a snapshot with %s is told from a state of the machine', async (name) => {
    const path = copy('odd-state');
    await Forgery.of(path, ODD[name]!);
    const { status, text } = await verb(['goto', path, 'end']);
    expect([status, text]).toEqual([2, expect.stringMatching(/^E_RECORDING: .*(snapshot|sections)/)]);
  });

  it('[X-02] a recording whose snapshots are none replays all the same: they prove nothing and are not asked', async () => {
    const path = copy('odd-state');
    await Forgery.of(
      path,
      section('cpu0', () => null),
    );
    expect((await verb(['replay', path])).status).toBe(0);
  });

  const BLOCKS: Readonly<Record<string, (forgery: Forgery) => void | Promise<void>>> = {
    'an entry of an unknown kind': (f) => f.block(0, (m) => void m.kinds.fill(9)),
    'entries without kinds': (f) => f.block(0, (m) => void (m.kinds = new Uint8Array(0))),
    'entries without details': (f) => f.block(0, (m) => void (m.details = [])),
    'an entry whose text is none': (f) => f.block(0, (m) => void (m.details = m.details.map(() => 1001))),
    'more input than there is': (f) =>
      f.block(0, (m) => {
        m.kinds.fill(0);
        m.details = m.details.map(() => 99);
      }),
    'entries behind the end': (f) => f.block(0, (m) => void (m.tickDeltas = m.tickDeltas.map(() => 2 ** 50))),
    'more devices than inputs': (f) => f.block(0, (m) => void (m.devices = [...m.devices, 0])),
    'input for a device without a name': (f) =>
      f.block(0, (m) => {
        m.kinds.fill(0);
        m.details = m.details.map(() => 0);
        m.devices = m.details.map(() => 1001);
      }),
    'digests that are cut': (f) => f.block(0, (m) => void (m.digestTickDeltas = [1])),
  };
  it.each(Object.keys(BLOCKS))('[X-02] a journal with %s is refused wherever it is read', async (name) => {
    const path = copy('odd-block');
    await Forgery.of(path, BLOCKS[name]!);
    for (const { verb: asked, status, text } of await answers(path, [['verify'], ['replay']])) {
      expect([asked, status, text]).toEqual([
        asked,
        2,
        expect.stringMatching(/E_RECORDING: journal block 0 is malformed/),
      ]);
    }
  });

  it('[X-02] a journal that goes on behind the end of the run, or without end, is told to have parted from it', async () => {
    for (const more of [1000, 2 ** 50]) {
      const path = copy('far');
      const { end } = await store.open('far', SEMANTICS_VERSION);
      await Forgery.of(path, async (forgery) => {
        await forgery.block(lastBlock, (m) => void (m.lastTick += more));
        await forgery.end((m) => void (m.tick = end!.tick + more));
      });
      expect((await verb(['verify', path])).status).toBe(0);
      expect((await verb(['replay', path])).status).toBe(4);
      expect((await verb(['goto', path, 'end'])).text).toMatch(/^E_DIVERGED: the run ends at tick/);
    }
  });

  it('[X-02] journal blocks that unpack to more than a gigabyte are refused on the way, in bounded time', async () => {
    const path = copy('bomb');
    await Forgery.of(path, async (forgery) => {
      forgery.anchor({ ended: false });
      await forgery.remove('end');
      const key = numbered('journal', lastBlock);
      const none = { tickDeltas: [], kinds: bytes(0), details: [], texts: [], digestTickDeltas: [], digests: bytes(0) };
      let block = { ...journalBlockCodec.decode(forgery.value(key)), ...none, payload: new Uint8Array(16_000_000) };
      let previous = chainHash(forgery.value(key));
      for (let sequence = lastBlock + 1; sequence < lastBlock + 80; sequence++) {
        block = { ...block, sequence, previous, firstTick: block.lastTick, lastTick: block.lastTick + 1 };
        const data = journalBlockCodec.encode(block);
        previous = chainHash(data);
        await forgery.put(numbered('journal', sequence), data);
      }
    });
    const before = process.cpuUsage();
    await expect(store.open('bomb', SEMANTICS_VERSION)).rejects.toMatchObject({
      code: 'E_RECORDING',
      message: expect.stringMatching(/^journal block \d+ is too much/),
    });
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1e6).toBeLessThan(20);
  });
});
