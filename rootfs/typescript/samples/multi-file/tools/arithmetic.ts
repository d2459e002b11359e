export interface Sum {
  a: number;
  b: number;
  total: number;
}

export const add = (a: number, b: number): number => a + b;
