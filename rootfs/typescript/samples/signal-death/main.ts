process.abort() as never;
