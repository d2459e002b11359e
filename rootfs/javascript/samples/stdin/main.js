const [numbers, word] = require('node:fs').readFileSync(0, 'utf8').trim().split('\n');

console.log(numbers.split(' ').reduce((sum, n) => sum + Number(n), 0));
console.log(word.toUpperCase());
