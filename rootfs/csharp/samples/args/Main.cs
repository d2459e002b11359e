Console.WriteLine(args.Length);
foreach (var arg in args)
    Console.WriteLine($"[{arg}]");
