using Tools;

Console.WriteLine($"1 + 2 = {Arithmetic.Add(1, 2)}");
