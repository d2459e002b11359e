using System.Text.RegularExpressions;

/// <summary>"1.2.3", "1.2.3.4" or "1.2.3-beta.1", in NuGet's order: by numbers, and before a release what led to it.</summary>
sealed class PackageVersion : IComparable<PackageVersion>
{
    readonly string text;
    readonly int[] numbers;
    readonly string[] early;

    PackageVersion(string text, int[] numbers, string[] early) => (this.text, this.numbers, this.early) = (text, numbers, early);

    public bool Early => early.Length > 0;

    public override string ToString() => text;

    /// <summary>Null for what is none. A "+build" behind it does not count.</summary>
    public static PackageVersion? Parse(string text)
    {
        var m = Regex.Match(text, @"^(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$");
        if (!m.Success)
            return null;
        var numbers = m.Groups[1].Value.Split('.').Select(int.Parse).ToArray();
        return new(text, [.. numbers, .. new int[4 - numbers.Length]], m.Groups[2].Success ? m.Groups[2].Value.ToLowerInvariant().Split('.') : []);
    }

    public int CompareTo(PackageVersion? other)
    {
        if (other == null)
            return 1;
        var order = numbers.Zip(other.numbers, (a, b) => a.CompareTo(b)).FirstOrDefault(o => o != 0);
        if (order != 0 || Early != other.Early)
            return order != 0 ? order : Early ? -1 : 1;
        order = early.Zip(other.early, Word).FirstOrDefault(o => o != 0);
        return order != 0 ? order : early.Length.CompareTo(other.early.Length);
    }

    static int Word(string a, string b) => (long.TryParse(a, out var m), long.TryParse(b, out var n)) switch
    {
        (true, true) => m.CompareTo(n),
        (false, false) => string.CompareOrdinal(a, b),
        (var number, _) => number ? -1 : 1,
    };
}

/// <summary>"1.2" (at least), "[1.2]" (just that), "[1.0,2.0)", "(,2.0]", or "*" and "1.*" (the newest of them).</summary>
sealed class VersionRange
{
    public string Text { get; private init; } = "";
    public bool Newest { get; private init; }
    public bool Early => least?.Early == true || most?.Early == true;

    PackageVersion? least, most;
    bool withLeast, withMost;

    public bool Allows(PackageVersion v) =>
        (least == null || v.CompareTo(least) is var l && (l > 0 || l == 0 && withLeast)) && (most == null || v.CompareTo(most) is var m && (m < 0 || m == 0 && withMost));

    /// <summary>Null for what is none.</summary>
    public static VersionRange? Parse(string text)
    {
        text = text.Replace(" ", "");
        if (text == "*")
            return new() { Text = text, Newest = true };
        if (text.EndsWith(".*"))
        {
            if (PackageVersion.Parse(text[..^2]) is not { Early: false } begins)
                return null;
            var numbers = text[..^2].Split('.');
            numbers[^1] = (int.Parse(numbers[^1]) + 1).ToString();
            return new() { Text = text, Newest = true, least = begins, withLeast = true, most = PackageVersion.Parse(string.Join('.', numbers)) };
        }
        if (PackageVersion.Parse(text) is { } least)
            return new() { Text = ">= " + text, least = least, withLeast = true };
        if (text.Length < 3 || text[0] is not ('[' or '(') || text[^1] is not (']' or ')'))
            return null;
        var ends = text[1..^1].Split(',');
        var (from, to) = (PackageVersion.Parse(ends[0]), PackageVersion.Parse(ends[^1]));
        if (ends.Length > 2 || from == null && ends[0] != "" || to == null && ends[^1] != "")
            return null;
        return new() { Text = text, least = from, withLeast = text[0] == '[', most = to, withMost = text[^1] == ']' };
    }
}
