using System;
using System.Diagnostics;
using System.IO;
using System.Threading;

class Needs
{
    static void Main()
    {
        Thread.CurrentThread.Priority = ThreadPriority.BelowNormal;
        Process.Start("sh", "tools.sh").WaitForExit();
        using var seen = new ManualResetEventSlim();
        using (var watcher = new FileSystemWatcher(".", "new"))
        {
            watcher.Created += (_, _) => seen.Set();
            watcher.EnableRaisingEvents = true;
            File.WriteAllText("new", "text");
            seen.Wait();
        }
        File.Copy("new", "copy");
        File.CreateSymbolicLink("link", "copy");
        File.Move("copy", "moved");
        Interlocked.MemoryBarrierProcessWide();
        Console.WriteLine("done");
    }
}
