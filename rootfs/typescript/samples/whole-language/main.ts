enum Color { Red, Green = 5, Blue }
const enum Size { Large = 7 }

namespace Geometry {
  export const unit = 1;
  export namespace Deep {
    export const name = (): string => 'deep';
  }
}

abstract class Shape {
  constructor(protected readonly side: number, public label = 'shape') {}
  abstract area(): number;
}

class Square extends Shape {
  @logged area(): number {
    return this.side ** 2;
  }
}

function logged<This, Args extends unknown[], R>(method: (this: This, ...args: Args) => R, context: ClassMethodDecoratorContext) {
  return function (this: This, ...args: Args): R {
    console.log(`calls ${String(context.name)}`);
    return method.apply(this, args);
  };
}

function pick<T extends object, K extends keyof T>(from: T, key: K): T[K] {
  return from[key];
}

import os = require('node:os');

const point = <const T>(x: T) => x;
let defined!: string;
defined = <string>(os.EOL as unknown);
console.log(Color[6], Color.Green, Size.Large, Geometry.unit, Geometry.Deep.name());
console.log(new Square(3).area(), new Square(1).label, pick({ a: 'x' } satisfies Record<string, string>, 'a')!.length, point([1]).length, defined.length);
