using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

Console.WriteLine(Patterns.Digits().Match("abc 42 def").Value);
Console.WriteLine(JsonSerializer.Serialize(new Point(1, 2), Context.Default.Point));
Console.WriteLine(1234.5.ToString("N1", CultureInfo.GetCultureInfo("de-DE")));
Console.WriteLine(typeof(Patterns).Assembly == System.Reflection.Assembly.GetEntryAssembly());

record Point(int X, int Y);

[JsonSerializable(typeof(Point))]
partial class Context : JsonSerializerContext;

static partial class Patterns
{
    [GeneratedRegex(@"\d+")]
    public static partial Regex Digits();
}
