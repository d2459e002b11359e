var text = Console.ReadLine()!;
Console.WriteLine("héllo wörld, 你好 🌍");
Console.WriteLine($"{text.Length} {text}");
