process.env.KEPT = 'left by the program' satisfies string;
console.log(process.env.LD_PRELOAD);
