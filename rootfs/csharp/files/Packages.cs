using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;

// NuGet packages of the operator's mirror, for sources that begin with `#:package Name@Version`, as .NET's file-based programs do.
//
//	/packages/nuget/<id>/<version>/                     a package as `dotnet restore --packages` unpacks it; both names in lower case
//	    <id>.nuspec                                     which others it needs
//	    lib/<framework>/*.dll                           what the program is compiled and run with
//	    ref/<framework>/*.dll                           if there, what it is compiled with instead
//	    runtimes/<rid>/{lib/<framework>,native}/*       if there, what it is run with besides or instead
//
// What the program is run with comes beside it in /build, as links: the mirror is in every jail. Nothing of a package runs here, for this process
// may serve its caller again. So analyzers, generators and what packages do to a build (build/*.props) are not heeded.
static class Packages
{
    const string Mirror = "/packages/nuget/", Framework = "/usr/lib/runtools/csharp/ref/net10.0/", Build = "/build/";

    /// <summary>The word that a source must hold to need any of this.</summary>
    public const string Directive = "#:";

    /// <summary>The options for csc, after linking what the sources' packages need into /build. Throws PackageException.</summary>
    public static string[] Options(IEnumerable<(string Name, string Text)> sources, TextWriter messages)
    {
        var direct = sources.SelectMany(s => Directives(s.Name, s.Text)).ToList();
        if (direct.Count == 0)
            return [];
        var references = new List<string>();
        foreach (var package in Resolve(direct))
        {
            var (run, compile) = (package.Assemblies("lib"), package.Assemblies("ref"));
            if (package.Foreign is { } framework)
                messages.WriteLine($"{package.For.Place}: warning NU1701: Package '{package.For.Id} {package.Version}' was restored using '{framework}' instead of " +
                    "the project target framework 'net10.0'. This package may not be fully compatible with your project.");
            references.AddRange(compile.Count > 0 ? compile : run);
            foreach (var rid in (string[])["any", "unix", "unix-x64", "linux", "linux-x64"]) // the nearest last
                run.AddRange([.. package.Assemblies($"runtimes/{rid}/lib"), .. package.Native(rid)]);
            foreach (var file in run)
                package.Link(file, Build + Path.GetFileName(file));
        }
        // What the framework has of the same name is newer, or ours to choose, as when dotnet prunes packages.
        return ["-features:FileBasedProgram", .. references.Where(r => !File.Exists(Framework + Path.GetFileName(r))).Select(r => "-r:" + r)];
    }

    // What may stand before the first token of a source.
    static readonly Regex Head = new(@"\A\uFEFF?(?>(?>\s+|//[^\n]*|/\*.*?\*/|(?<directive>#:[^\n]*)|#[^\n]*)*)", RegexOptions.Singleline);

    static IEnumerable<Wish> Directives(string name, string text)
    {
        foreach (Capture found in Head.Match(text).Groups["directive"].Captures)
        {
            var place = $"{name}({text.AsSpan(0, found.Index).Count('\n') + 1},1)";
            var words = found.Value.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words is not ["#:package", var wanted])
                throw new PackageException(place, "RT0001", "only #:package Name@Version is known here, and not " + found.Value.Trim());
            var (id, version) = wanted.Split('@', 2) is [var i, var v] ? (i, v) : (wanted, "*");
            // An id becomes a path.
            if (!Regex.IsMatch(id, @"^\w+([.-]\w+)*$") || VersionRange.Parse(version) is not { } range)
                throw new PackageException(place, "RT0001", $"want #:package Name@Version, as Newtonsoft.Json@13.0.3, and not {wanted}");
            yield return new(place, id, range);
        }
    }

    /// <summary>The packages of the wishes, and what they need: of each the oldest that all wishes allow, as NuGet chooses.</summary>
    static IEnumerable<Package> Resolve(List<Wish> direct)
    {
        var chosen = new Dictionary<string, Package>(StringComparer.OrdinalIgnoreCase);
        var wishes = direct.ToLookup(w => w.Id, StringComparer.OrdinalIgnoreCase).ToDictionary(g => g.Key, g => g.ToList(), StringComparer.OrdinalIgnoreCase);
        var open = new Queue<Wish>(direct);
        while (open.TryDequeue(out var wish))
        {
            if (OfFramework(wish.Id))
                continue;
            var best = Choose(wish, wishes[wish.Id]);
            if (chosen.TryGetValue(wish.Id, out var before) && before.Version.CompareTo(best.Version) == 0)
                continue;
            chosen[wish.Id] = best;
            // Another version's wishes stay: that keeps this short, ends it, and asks at worst for more than is needed.
            foreach (var needed in best.Needs(wish.Place))
            {
                wishes.TryAdd(needed.Id, []);
                wishes[needed.Id].Add(needed);
                open.Enqueue(needed);
            }
        }
        return chosen.Values;
    }

    static bool OfFramework(string id) =>
        File.Exists($"{Framework}{id}.dll") || id.ToLowerInvariant() is "netstandard.library" or "microsoft.netcore.platforms" or "microsoft.netcore.targets";

    static Package Choose(Wish wish, List<Wish> all)
    {
        var folder = new DirectoryInfo(Mirror + wish.Id.ToLowerInvariant());
        if (!folder.Exists)
            throw new PackageException(wish.Place, "NU1101", $"Unable to find package {wish.Id}. " +
                (Directory.Exists(Mirror) ? "It is not in this server's mirror: ls " + Mirror : "This server has no mirror of NuGet packages."));
        var there = folder.GetDirectories().Select(d => PackageVersion.Parse(d.Name)).OfType<PackageVersion>().Order().ToList();
        var allowed = there.Where(v => all.All(w => w.Range.Allows(v))).ToList();
        if (allowed.Count == 0)
            throw new PackageException(wish.Place, "NU1102", $"Unable to find package {wish.Id} with version ({string.Join(" and ", all.Select(w => w.Range.Text).Distinct())}). " +
                $"The mirror has {string.Join(", ", there)}.");
        // A release rather than what came before it, unless that was asked for.
        var stable = allowed.Where(v => !v.Early || all.Any(w => w.Range.Early)).ToList();
        var list = stable.Count > 0 ? stable : allowed;
        return new(wish, all.Any(w => w.Range.Newest) ? list[^1] : list[0]);
    }

    /// <summary>The entry of the list whose framework is the nearest to ours, if any of them can be used.</summary>
    static T? Nearest<T>(IEnumerable<T> list, Func<T, string> framework) where T : class =>
        list.Where(e => Nearness(framework(e)) > 0).MaxBy(e => Nearness(framework(e)));

    // What is for .NET Framework alone is less near than all that is for us, and has less than this.
    const int Ours = 1000;

    /// <summary>Of "net8.0", "netstandard2.0", "net45", or ".NETStandard2.0" as a nuspec writes it. 0: cannot be used.</summary>
    static int Nearness(string framework)
    {
        var parts = Regex.Match(framework.ToLowerInvariant(), @"^\.?(net|netcoreapp|netstandard|netframework)(\d{1,3})(\.\d)?(\.\d)?$");
        if (!parts.Success)
            return 0;
        var digits = string.Concat(parts.Groups.Values.Skip(2)).Replace(".", "");
        var version = int.Parse(digits);
        return (parts.Groups[1].Value, parts.Groups[3].Success, version) switch
        {
            ("net", true, >= 50 and <= 100) or ("netcoreapp", true, <= 31) => 2 * Ours + version,
            ("netstandard", true, <= 21) => Ours + version,
            // dotnet takes the newest up to 4.6.1, else the oldest beyond: AssetTargetFallback of its SDK.
            ("net" or "netframework", _, _) => int.Parse(digits.PadRight(3, '0')) switch { >= 200 and <= 461 and var n => n, > 461 and <= 481 and var n => 482 - n, _ => 0 },
            _ => 0,
        };
    }

    /// <summary>A package that somebody wants. Place is the directive that it comes from.</summary>
    sealed record Wish(string Place, string Id, VersionRange Range);

    sealed record Package(Wish For, PackageVersion Version)
    {
        string Folder => $"{Mirror}{For.Id.ToLowerInvariant()}/{Version}/";

        DirectoryInfo[] Frameworks(string kind) => Directory.Exists(Folder + kind) ? new DirectoryInfo(Folder + kind).GetDirectories() : [];

        /// <summary>The framework that its assemblies are for, if there are none for ours.</summary>
        public string? Foreign => Nearest(Frameworks("lib"), d => d.Name) is { Name: var name } && Nearness(name) < Ours ? name : null;

        /// <summary>What is for our framework below lib, ref, or runtimes/.../lib.</summary>
        public List<string> Assemblies(string kind)
        {
            var frameworks = Frameworks(kind);
            if (Nearest(frameworks, d => d.Name) is { } nearest)
                return [.. nearest.GetFiles("*.dll").Select(f => f.FullName).Order(StringComparer.Ordinal)];
            if (kind == "lib" && frameworks.Length > 0)
                throw new PackageException(For.Place, "NU1202", $"Package {For.Id} {Version} is not compatible with net10.0. " +
                    $"It supports {string.Join(", ", frameworks.Select(d => d.Name).Order(StringComparer.Ordinal))}.");
            return [];
        }

        public string[] Native(string rid)
        {
            var folder = $"{Folder}runtimes/{rid}/native";
            return Directory.Exists(folder) ? Directory.GetFiles(folder) : [];
        }

        public void Link(string file, string to)
        {
            if (Path.GetFileName(to) == "Main.dll")
                throw new PackageException(For.Place, "RT0001", $"Package {For.Id} {Version} has a Main.dll, as the program itself");
            if (File.Exists(Framework + Path.GetFileName(to)))
                return;
            File.Delete(to);
            File.CreateSymbolicLink(to, file);
        }

        XDocument Read(string spec)
        {
            try
            {
                return XDocument.Load(spec);
            }
            catch (XmlException e)
            {
                throw new PackageException(For.Place, "RT0001", $"{spec}: {e.Message}");
            }
        }

        public IEnumerable<Wish> Needs(string place)
        {
            var spec = $"{Folder}{For.Id.ToLowerInvariant()}.nuspec";
            if (!File.Exists(spec))
                yield break;
            // Namespaces differ from one age of NuGet to the next.
            static IEnumerable<XElement> Named(XContainer from, string name) => from.Elements().Where(e => e.Name.LocalName == name);
            var lists = Read(spec).Root is { } root ? Named(root, "metadata").SelectMany(m => Named(m, "dependencies")).ToList() : [];
            // What assemblies for another framework need is no wish of those for ours.
            var least = Foreign == null ? Ours : 0;
            var groups = lists.SelectMany(l => Named(l, "group")).ToLookup(g => g.Attribute("targetFramework")?.Value ?? "");
            var group = Nearest(groups.Where(g => Nearness(g.Key) >= least), g => g.Key)?.First() ?? groups[""].FirstOrDefault();
            foreach (var d in (group != null ? [group] : lists).SelectMany(l => Named(l, "dependency")))
                if (d.Attribute("id")?.Value is { } id && VersionRange.Parse(d.Attribute("version")?.Value ?? "0") is { } range)
                    yield return new(place, id, range);
        }
    }
}

/// <summary>Why a package cannot be had, as a line of a compiler.</summary>
sealed class PackageException(string place, string code, string message) : Exception($"{place}: error {code}: {message}");
