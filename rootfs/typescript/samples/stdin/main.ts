import { readFileSync } from 'node:fs';

const [numbers, word]: string[] = readFileSync(0, 'utf8').trim().split('\n');

console.log(numbers.split(' ').reduce((sum: number, n) => sum + Number(n), 0));
console.log(word.toUpperCase());
