// The tables of store/messages.ts against proto/recording.proto as protobufjs reads it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import {
  type Codec,
  type EndMessage,
  endCodec,
  type Fields,
  headerCodec,
  journalBlockCodec,
  MESSAGES,
  sectionsCodec,
  snapshotCodec,
} from '../../store/messages.ts';

const { root } = protobuf.parse(readFileSync(join(import.meta.dirname, '../../proto/recording.proto'), 'utf8'));
const typeOf = (name: string): protobuf.Type => root.lookupType(`hindsight.${name}`);

/** What the file says of a message, in the form of the tables; messages by their names. */
function specified(name: string): Record<string, unknown> {
  return Object.fromEntries(
    typeOf(name).fieldsArray.map((field) => {
      const { id, type } = field;
      if (field instanceof protobuf.MapField)
        return [field.name, { id, type: `${field.keyType} to ${type}`, rule: 'map' }];
      return [field.name, { id, type, rule: field.repeated ? 'list' : 'one' }];
    }),
  );
}
function declared(fields: Fields): Record<string, unknown> {
  const nameOf = (of: Fields): string =>
    Object.entries(MESSAGES).find(([, other]) => other === of)?.[0] ?? 'string to string';
  return Object.fromEntries(
    Object.entries(fields).map(([name, { id, type, rule }]) => [
      name,
      { id, type: typeof type === 'string' ? type : nameOf(type), rule },
    ]),
  );
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const LARGE = 2 ** 53 - 1;
const EXAMPLES: ReadonlyArray<[string, Codec<object>, object]> = [
  [
    'Header',
    headerCodec as Codec<object>,
    {
      formatVersion: 4,
      semanticsVersion: 4_294_967_295,
      toolVersion: '0.1.0 ü',
      createdMs: 1.75,
      memoryBytes: LARGE,
      vcpus: 0,
      cpuPolicy: '',
      nsPerTick: 1,
      tscKhz: 300,
      commandLine: 'quiet',
      seed: bytes(1, 2, 0),
      epochSeconds: 2 ** 32,
      settings: { a: 'b', '': '' },
      blobs: [
        { name: 'kernel', bytes: 2 ** 40 },
        { name: '', bytes: 0 },
      ],
    },
  ],
  [
    'JournalBlock',
    journalBlockCodec as Codec<object>,
    {
      sequence: 7,
      firstTick: 0,
      lastTick: LARGE,
      tickDeltas: [0, 127, 128, LARGE],
      kinds: bytes(0, 1, 2, 3),
      details: [],
      texts: ['', 'singleshot:0'],
      payload: bytes(),
      digestTickDeltas: [1],
      digests: bytes(9),
      stateHash: bytes(255),
      previous: bytes(0),
      devices: [0, 3, LARGE],
    },
  ],
  [
    'Snapshot',
    snapshotCodec as Codec<object>,
    {
      sequence: 0,
      tick: 5,
      stateHash: bytes(),
      base: 1,
      slotDeltas: [3],
      pageDeltas: [-1, 0, -LARGE, 64],
      storedBytes: 1,
      runLengths: [1, 300],
    },
  ],
  [
    'Sections',
    sectionsCodec as Codec<object>,
    {
      sections: [
        { name: 'loop', bytes: bytes(4) },
        { name: '', bytes: bytes() },
      ],
    },
  ],
  [
    'End',
    endCodec as Codec<object>,
    { tick: 1, stateHash: bytes(1), verdict: 'panic', message: '', placeTick: 2, placeVcpu: 3, placeRip: bytes(8) },
  ],
];

describe('messages', () => {
  it('[X-02] the tables are what proto/recording.proto says', () => {
    const names = root.lookup('hindsight') as protobuf.Namespace;
    expect(Object.keys(MESSAGES).sort()).toEqual(names.nestedArray.map(({ name }) => name).sort());
    for (const [name, fields] of Object.entries(MESSAGES)) expect(declared(fields), name).toEqual(specified(name));
  });

  it.each(EXAMPLES)('[X-02] %s is read as protobufjs reads it, and the other way round', (name, codec, value) => {
    const type = typeOf(name);
    const theirs = Uint8Array.from(type.encode(type.fromObject(value)).finish());
    expect(codec.decode(theirs)).toEqual(value);
    const ours = codec.encode(value);
    expect(codec.decode(ours)).toEqual(value);
    const read = (from: Uint8Array): object => type.toObject(type.decode(from), { longs: Number, defaults: true });
    expect(read(ours)).toEqual(read(theirs));
  });

  it('[X-02] what is cut short is an error; an absent field is empty', () => {
    const whole = endCodec.encode(EXAMPLES[4]![2] as EndMessage);
    expect(() => endCodec.decode(whole.subarray(0, -1))).toThrow(RangeError);
    expect(endCodec.decode(bytes())).toMatchObject({ tick: 0, verdict: '', placeRip: bytes() });
    expect(() => endCodec.decode(bytes((1 << 3) | 2, 1, 0))).toThrow(RangeError);
  });
});
