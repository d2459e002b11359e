Console.WriteLine(Console.ReadLine()!.Split(' ').Sum(int.Parse));
Console.WriteLine(Console.ReadLine()!.ToUpper());
