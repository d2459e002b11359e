Console.WriteLine("never")
