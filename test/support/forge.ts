/**
 * Recordings as nobody's recorder writes them: whole, with every checksum right, and wrong in what they say. Values are taken out
 * of a recording's database, changed, and sealed again; the chain of blocks and the anchor are made to fit.
 */
import { join } from 'node:path';
import { Level } from 'level';
import { AnchorWriter, readAnchor } from '../../store/anchor.ts';
import { chainHash } from '../../store/journal-codec.ts';
import {
  type Codec,
  type EndMessage,
  endCodec,
  type HeaderMessage,
  headerCodec,
  type JournalBlockMessage,
  journalBlockCodec,
  type SectionsMessage,
  type SnapshotMessage,
  sectionsCodec,
  snapshotCodec,
} from '../../store/messages.ts';
import { PlainFile } from '../../store/plain-file.ts';
import { numbered, type Place, seal, sealPlace, unseal } from '../../store/sealed.ts';

export class Forgery {
  readonly #path: string;
  readonly #database: Level<string, Uint8Array>;
  readonly #bulk: string;

  private constructor(path: string) {
    this.#path = path;
    this.#database = new Level(join(path, 'db'), { valueEncoding: 'view', compression: false } as object);
    this.#bulk = join(path, 'bulk');
  }
  /** Changes the recording at `path` in place. */
  static async of(path: string, change: (forgery: Forgery) => void | Promise<void>): Promise<void> {
    const forgery = new Forgery(path);
    await forgery.#database.open();
    await change(forgery);
    await forgery.#database.close();
  }

  value(key: string): Uint8Array {
    return unseal(key, this.#database.getSync(key)!, ({ at, bytes }) => {
      const bulk = PlainFile.open(this.#bulk, 'bulk')!;
      try {
        return bulk.read(at, bytes);
      } finally {
        bulk.close();
      }
    });
  }
  async put(key: string, data: Uint8Array): Promise<void> {
    await this.#database.put(
      key,
      seal(key, data, (parts) => Buffer.concat(parts)),
    );
  }
  /** Has a value said to stand in the bulk file. */
  async place(key: string, place: Place): Promise<void> {
    await this.#database.put(key, sealPlace(key, place));
  }
  remove(key: string): Promise<void> {
    return this.#database.del(key);
  }
  async #change<T>(key: string, codec: Codec<T>, change: (message: T) => void): Promise<Uint8Array> {
    const message = codec.decode(this.value(key));
    change(message);
    const data = codec.encode(message);
    await this.put(key, data);
    return data;
  }

  async header(change: (message: HeaderMessage) => void): Promise<void> {
    await this.#change('header', headerCodec, change);
  }
  async end(change: (message: EndMessage) => void): Promise<void> {
    await this.#change('end', endCodec, change);
  }
  async snapshot(index: number, change: (message: SnapshotMessage) => void): Promise<void> {
    await this.#change(numbered('snapshot', index), snapshotCodec, change);
  }
  async sections(index: number, change: (message: SectionsMessage) => void): Promise<void> {
    await this.#change(numbered('sections', index), sectionsCodec, change);
  }
  /** Changes a block; those behind it are chained to it again. */
  async block(index: number, change: (message: JournalBlockMessage) => void): Promise<void> {
    const { anchor } = readAnchor(join(this.#path, 'anchor'), 'it');
    let data = await this.#change(numbered('journal', index), journalBlockCodec, change);
    for (let next = index + 1; next < anchor.blocks; next++) {
      const previous = chainHash(data);
      data = await this.#change(numbered('journal', next), journalBlockCodec, (message) => {
        message.previous = previous;
      });
    }
    this.anchor({ lastHash: chainHash(data) });
  }
  anchor(change: Parameters<AnchorWriter['update']>[0]): void {
    const path = join(this.#path, 'anchor');
    const writer = new AnchorWriter(path, readAnchor(path, 'it').anchor);
    writer.update(change);
    writer.close();
  }
}
