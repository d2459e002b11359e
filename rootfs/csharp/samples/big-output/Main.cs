var line = string.Concat(Enumerable.Repeat("0123456789abcdef", 4))[..63];
for (var i = 0; i < 16384; i++)
    Console.WriteLine(line);
