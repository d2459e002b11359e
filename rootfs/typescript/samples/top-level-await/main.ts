import { setTimeout as sleep } from 'node:timers/promises';
import Counter from './counter.ts';

const counter: Counter = new Counter();
await sleep(1);
for await (const n of counter.upTo(3)) console.log(n);
console.log(import.meta.filename, (await import('./counter')).default === Counter);
