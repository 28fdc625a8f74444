/**
 * Makes an edited copy of a recording: one input moved by some ticks. `hindsight replay` proves the part before the edit, follows
 * the rest and calls the run counterfactual (src/timeline/edit.ts).
 *
 *   node tools/run.mjs edit-journal RECORDING                      lists the inputs
 *   node tools/run.mjs edit-journal RECORDING INPUT TICKS COPY     moves input number INPUT by TICKS
 */
import { basename, dirname, resolve } from 'node:path';
import { EmulatorError } from '../src/core/errors.ts';
import { kindOf } from '../src/machine/platforms.ts';
import { journalOf, moveInput, writeEditedCopy } from '../src/timeline/edit.ts';
import { isPayload } from '../src/timeline/journal.ts';
import { SEMANTICS_VERSION } from '../src/timeline/run.ts';
import { imagesOf } from '../src/timeline/trace-store.ts';
import { LevelStore } from '../store/level-store.ts';
import { refuse } from './command-line.ts';

const place = (path: string): [LevelStore, string] => [new LevelStore(dirname(resolve(path))), basename(path)];

const args = process.argv.slice(2);
/** A whole number, which may be negative: not for parseArgs. */
const whole = (text: string, what: string): number =>
  /^-?\d+$/.test(text) ? Number(text) : refuse(`${what} ${text}: not a whole number`);

async function main([from, index, ticks, to]: string[]): Promise<void> {
  if (from === undefined || from.startsWith('-') || (args.length !== 1 && args.length !== 4))
    refuse('write RECORDING, or RECORDING INPUT TICKS COPY');
  const [store, name] = place(from);
  const original = await store.open(name, SEMANTICS_VERSION);
  const entries = journalOf(original);
  if (to === undefined) {
    for (const [i, { tick, device, data }] of entries.filter(isPayload).entries())
      console.log(`${i}  tick ${tick}  ${device}  ${JSON.stringify(new TextDecoder().decode(data))}`);
  } else {
    const [target, copyName] = place(to);
    const copy = await writeEditedCopy(
      original,
      moveInput(entries, whole(index!, 'INPUT'), whole(ticks!, 'TICKS')),
      (header) => {
        const { images } = kindOf(header.settings.platform ?? '');
        const blobs = new Map(Object.entries(imagesOf(original, images)));
        return target.create(copyName, { ...header, createdMs: Date.now() }, blobs);
      },
    );
    await copy.close();
  }
  await original.close();
}

try {
  await main(args);
} catch (error) {
  if (!(error instanceof EmulatorError)) throw error;
  refuse(`${error.code}: ${error.message}`);
}
