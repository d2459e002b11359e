using System.Reflection;

// csc, with its messages on stderr where a caller looks for a compiler's, and with each source generator only when the sources name what
// it serves: dotnet build's generators, all of them always on, would double the time of every compile.
(string Word, string Generator)[] generators =
[
    ("GeneratedRegex", "System.Text.RegularExpressions.Generator"),
    ("JsonSerializable", "System.Text.Json.SourceGeneration"),
    ("LibraryImport", "Microsoft.Interop.LibraryImportGenerator"),
    ("GeneratedComInterface", "Microsoft.Interop.ComInterfaceGenerator"),
];

const string home = "/usr/lib/runtools/csharp/";
var sources = string.Concat(args.Where(File.Exists).Select(File.ReadAllText));
var used = generators.Where(g => sources.Contains(g.Word)).Select(g => $"-a:{home}generators/{g.Generator}.dll");
string[] options = ["-noconfig", "-nologo", $"@{home}csc.rsp", .. used, .. args];

Console.SetOut(Console.Error);
return (int)Assembly.Load("csc").EntryPoint!.Invoke(null, [options])!;
