const never: number = 1;
function f( {
console.log(never);
