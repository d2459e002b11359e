using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

// csc, with its messages on stderr where a caller looks for a compiler's, and with each source generator only when the sources name what
// it serves: dotnet build's generators, all of them always on, would double the time of every compile.
//
// It is csc's own compiler in the form that the compiler server has it: references to assemblies are read once in the life of a process.
//
// With --park it warms up, waits for its job (csharp.c), compiles what that names, and waits for another if there may be one.
(string Word, string Generator)[] generators =
[
    ("GeneratedRegex", "System.Text.RegularExpressions.Generator"),
    ("JsonSerializable", "System.Text.Json.SourceGeneration"),
    ("LibraryImport", "Microsoft.Interop.SourceGeneration"), // the next two generators need it
    ("LibraryImport", "Microsoft.Interop.LibraryImportGenerator"),
    ("GeneratedComInterface", "Microsoft.Interop.SourceGeneration"),
    ("GeneratedComInterface", "Microsoft.Interop.ComInterfaceGenerator"),
];

const string home = "/usr/lib/runtools/csharp/";

// Warm.cs, for 1100 ms of CPU, takes the compile of a hello from 680 to 25; Hello.cs, for those 25, to 12. More would gain little, and every jail pays for it, which
// serves one job as shipped. No collection should come before that job (csharp.c).
if (args is ["--park"])
{
    foreach (var source in (string[])["Warm.cs", "Hello.cs"])
        Compile([home + source, "-out:/tmp/warm.dll"], TextWriter.Null);
    File.Delete("/tmp/warm.dll");
    File.Delete("/tmp/warm.pdb");
    // Roslyn survives much of what it has too little memory or stack for, and makes an error of the program's of it (CS8078); whoever catches it, it is seen here.
    var exhausted = false;
    AppDomain.CurrentDomain.FirstChanceException += (_, e) => exhausted |= e.Exception is OutOfMemoryException or InsufficientExecutionStackException;
    while (true)
    {
        var words = Native.Wait();
        // Not Console.Error: it would write to a copy of the descriptor of the first job.
        using var messages = new StreamWriter(new FileStream(new SafeFileHandle(2, ownsHandle: false), FileAccess.Write, 0));
        var code = Compile(words, messages);
        messages.Flush();
        // What broke off may have done so anywhere: such a compiler gets no other job. Any other fault of Roslyn's is an exception that ends the process.
        if (exhausted)
            Native.End(code);
        Native.Again(code);
    }
}
return Compile(args, Console.Error);

int Compile(string[] words, TextWriter messages)
{
    var sources = words.Where(File.Exists).Select(name => (Name: name, Text: File.ReadAllText(name))).ToList();
    var used = generators.Where(g => sources.Any(s => s.Text.Contains(g.Word))).Select(g => $"-a:{home}generators/{g.Generator}.dll").Distinct();
    string[] packages = [];
    try
    {
        if (sources.Any(s => s.Text.Contains(Packages.Directive)))
            packages = Packages.Options(sources, messages);
    }
    catch (PackageException e)
    {
        messages.WriteLine(e.Message);
        return 1;
    }
    string[] options = ["-noconfig", "-nologo", $"@{home}csc.rsp", .. used, .. packages, .. words];
    return Roslyn.Run(options, messages);
}

// What of the compiler server is used: CSharpCompilerServer is csc's compiler with references that are read once. None of it is public, so a
// new Roslyn may need another call here; the samples would tell.
static class Roslyn
{
    const BindingFlags Any = BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;

    static readonly Assembly Core = Assembly.Load("Microsoft.CodeAnalysis"), Server = Assembly.Load("VBCSCompiler");
    static readonly ConstructorInfo Compiler = Server.GetType("Microsoft.CodeAnalysis.CompilerServer.CSharpCompilerServer")!
        .GetConstructors(Any).Single(c => c.GetParameters().Length == 7);
    static readonly object? References = Server.GetType("Microsoft.CodeAnalysis.CompilerServer.CompilerServerHost")!
        .GetProperty("SharedAssemblyReferenceProvider", Any)!.GetValue(null);

    static object Make(string type, params object?[] arguments) =>
        Core.GetType("Microsoft.CodeAnalysis." + type)!.GetConstructors(Any).Single(c => !c.IsStatic && c.GetParameters().Length == arguments.Length).Invoke(arguments);

    public static int Run(string[] options, TextWriter messages)
    {
        var here = AppContext.BaseDirectory;
        var paths = Make("BuildPaths", here, Environment.CurrentDirectory, null, Path.GetTempPath());
        var compiler = Compiler.Invoke([References, options, paths, null, Make("AnalyzerAssemblyLoader"), Make("GeneratorDriverCache", 1), null]);
        return (int)compiler.GetType().GetMethod("Run", [typeof(TextWriter), typeof(CancellationToken)])!.Invoke(compiler, [messages, CancellationToken.None])!;
    }
}

static class Native
{
    [DllImport("/usr/lib/runtools/csharp/parked.so")]
    static extern int csharp_wait(out nint words);

    [DllImport("/usr/lib/runtools/csharp/parked.so", EntryPoint = "csharp_again")]
    public static extern void Again(int code);

    [DllImport("/usr/lib/runtools/csharp/parked.so", EntryPoint = "parked_end")]
    public static extern void End(int code);

    public static string[] Wait()
    {
        var words = new string[csharp_wait(out var p)];
        for (var i = 0; i < words.Length; i++)
            words[i] = Marshal.PtrToStringUTF8(Marshal.ReadIntPtr(p, i * nint.Size))!;
        return words;
    }
}
