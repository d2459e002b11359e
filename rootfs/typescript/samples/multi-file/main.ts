import { add, type Sum } from './tools/arithmetic';
import { plus } from './tools/format.ts';

const sum: Sum = { a: 1, b: 2, total: add(1, 2) };
const { again } = require('./tools/format');

console.log(again === plus ? plus(sum) : 'two instances');
