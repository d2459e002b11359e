import { add } from './tools/arithmetic.mjs';
import { createRequire } from 'node:module';

const { plus } = createRequire(import.meta.url)('./tools/format.cjs');

console.log(plus(1, 2, add(1, 2)));
