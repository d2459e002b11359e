using System;
using System.IO;
using System.Linq;
using System.Text;

static class Search
{
    static string secret = "", own = "";

    static void Walk(DirectoryInfo folder)
    {
        FileSystemInfo[] entries;
        try { entries = folder.GetFileSystemInfos(); } catch (Exception) { return; }
        foreach (var e in entries)
        {
            try
            {
                if (e.LinkTarget != null) continue;
                if (e is DirectoryInfo inner) { Walk(inner); continue; }
                if ((e.UnixFileMode == 0) || (e.Attributes & FileAttributes.Device) != 0 || new[] { "mem", "kmsg", "pagemap", "kcore" }.Contains(e.Name) || e.FullName.StartsWith("/dev/") && !e.FullName.StartsWith("/dev/shm/")) continue;
                using var f = File.OpenRead(e.FullName);
                var buffer = new byte[1 << 20];
                int n = f.ReadAtLeast(buffer, buffer.Length, false);
                var content = Encoding.Latin1.GetString(buffer, 0, n);
                if (content.Contains(secret, StringComparison.Ordinal)) Console.WriteLine("SECRET in " + e.FullName);
                if (content.Contains(own, StringComparison.Ordinal)) Console.WriteLine("own");
            }
            catch (Exception) { }
        }
    }

    static string Reversed() => new string(Console.ReadLine()!.Reverse().ToArray());

    static void Main(string[] args)
    {
        secret = Reversed();
        own = Reversed();
        foreach (var root in args) Walk(new DirectoryInfo(root));
    }
}
