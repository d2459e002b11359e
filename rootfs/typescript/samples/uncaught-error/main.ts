interface Problem {
  what: string;
}

enum Kind { Small, Large }

function fail(p: Problem, kind: Kind = Kind.Large): never {
  throw new RangeError(`${p.what} ${Kind[kind]}`);
}

fail({ what: 'boom' });
