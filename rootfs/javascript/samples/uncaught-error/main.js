function fail() {
  throw new RangeError('boom');
}

fail();
