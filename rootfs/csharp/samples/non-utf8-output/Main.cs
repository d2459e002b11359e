using var output = Console.OpenStandardOutput();
output.Write([0xff, 0xfe, 0x00, (byte)'A', (byte)'\n']);
