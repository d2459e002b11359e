const line: string = '0123456789abcdef'.repeat(4).slice(0, 63);

for (let i = 0; i < 16384; i++) console.log(line);
