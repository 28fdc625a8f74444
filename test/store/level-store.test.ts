import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { LevelStore } from '../../store/level-store.ts';
import { traceStoreContract } from '../contract/trace-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'hindsight-store-'));
afterAll(() => rmSync(folder, { recursive: true }));

let next = 0;
traceStoreContract('level', () => new LevelStore(join(folder, String(next++))));
