const { execFileSync } = require('node:child_process');

process.env.KEPT = 'left by the program';
console.log(process.env.LD_PRELOAD);
console.log(execFileSync('/bin/sh', ['-c', 'echo ${LD_PRELOAD-unset}'], { encoding: 'utf8' }).trim());
