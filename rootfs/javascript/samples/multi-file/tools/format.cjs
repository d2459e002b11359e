exports.plus = (a, b, sum) => `${a} + ${b} = ${sum}`;
