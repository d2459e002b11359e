using System;
using System.Linq;

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
while (Console.ReadLine() is string line)
{
    var (name, number) = line.Split(' ') switch { var parts => (parts[0], int.Parse(parts[1])) };
    if (!args.Contains(name))
    {
        Console.WriteLine($"{name,-8} \u001b[35m{string.Concat(Enumerable.Repeat("█", number))}\u001b[0m {number}");
    }
}
