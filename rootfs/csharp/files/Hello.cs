// What a parked compiler compiles last before its job comes: the next small program then takes half the time.
Console.WriteLine($"hello {args.Length}");
