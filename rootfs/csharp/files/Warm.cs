// What a parked compiler compiles before its job comes, so that its own code is loaded and compiled: a little of everything.
using System.Text;

var words = new Dictionary<string, int>();
foreach (var w in "a b a c".Split(' '))
    words[w] = words.GetValueOrDefault(w) + 1;
var text = new StringBuilder();
foreach (var (word, count) in words.OrderByDescending(p => p.Value).ThenBy(p => p.Key))
    text.AppendLine($"{word,5} {count:D3}");
Console.Write(text);
Console.WriteLine(string.Join(",", Enumerable.Range(1, 10).Where(n => n % 2 == 0).Select(n => Square(n))));
Shape shape = new Circle(2.5);
Console.WriteLine(shape switch { Circle { Radius: > 1 } c => c.Area.ToString("F2"), _ => "none" });
try { _ = int.Parse(Console.ReadLine() ?? "x"); }
catch (FormatException e) when (e.Message.Length > 0) { Console.Error.WriteLine(e.Message); }
finally { await Task.Delay(0); }
static int Square(int n) => n * n;

abstract record Shape { public abstract double Area { get; } }
record Circle(double Radius) : Shape { public override double Area => Math.PI * Radius * Radius; }
class Stack<T> where T : struct
{
    private readonly List<T> items = [];
    public event Action<T>? Pushed;
    public void Push(T item) { items.Add(item); Pushed?.Invoke(item); }
    public T Pop() { var last = items[^1]; items.RemoveAt(items.Count - 1); return last; }
    public IEnumerable<T> All() { foreach (var i in items) yield return i; }
}
