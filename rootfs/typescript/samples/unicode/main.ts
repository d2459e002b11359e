import { readFileSync } from 'node:fs';

const text: string = readFileSync(0, 'utf8').trim();

console.log('héllo wörld, 你好 🌍');
console.log(`${text.length} ${text}`);
