import { MemoryStore } from '../../src/timeline/memory-store.ts';
import { traceStoreContract } from '../contract/trace-store.ts';

traceStoreContract('memory', () => new MemoryStore());
