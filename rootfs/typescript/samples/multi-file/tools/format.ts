import { Sum } from './arithmetic.js';

export const plus = ({ a, b, total }: Sum): string => `${a} + ${b} = ${total}`;
export { plus as again };
