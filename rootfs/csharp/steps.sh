# /usr/lib/dotnet is the SDK, whole or cut. Kept of it: the runtime, the compiler, the reference assemblies and the generators.
dotnet=/usr/lib/dotnet
sdk=$(echo "$dotnet"/sdk/*)
pack=$(echo "$dotnet"/packs/Microsoft.NETCore.App.Ref/*)
test -d "$sdk/Roslyn/bincore" && test -d "$pack/ref"

mv "$sdk/Roslyn/bincore" roslyn
mv "$pack/ref" ref
mv "$pack/analyzers/dotnet/cs" generators
rm -rf "$dotnet/sdk" "$dotnet/packs" "$dotnet/sdk-manifests" "$dotnet/templates" "$dotnet/library-packs" "$dotnet/metadata" "$dotnet/shared/Microsoft.AspNetCore.App"
# Translations of the compiler's messages, and parts for other languages and for scripting.
find roslyn -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
rm -f roslyn/vbc.* roslyn/csi.* roslyn/*VisualBasic* roslyn/*Scripting*
ln -s ../lib/dotnet/dotnet /usr/bin/dotnet

# dotnet build's options for a Release build of a new console project.
constants=TRACE\;RELEASE\;NET\;NETCOREAPP
for v in 5 6 7 8 9 10; do constants="$constants;NET${v}_0_OR_GREATER"; done
{
	echo "-target:exe -out:/build/Main.dll -optimize+ -debug:portable -deterministic+ -utf8output -langversion:latest -nullable:enable"
	echo "-nowarn:1701,1702 -warn:10 -define:$constants;NET10_0"
	echo "$PWD/usings.cs"
	for dll in "$PWD"/ref/net10.0/*.dll; do echo "-r:$dll"; done
} >csc.rsp

export DOTNET_ROOT="$dotnet" DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_CLI_HOME=/tmp
mv compile.runtimeconfig.json roslyn/
mv Compile.cs Packages.cs PackageVersion.cs /tmp
dotnet exec roslyn/csc.dll -noconfig -nologo @csc.rsp -out:"$PWD/roslyn/compile.dll" -debug- /tmp/Compile.cs /tmp/Packages.cs /tmp/PackageVersion.cs

# Both stages are parked. What the host looks for in /build before there is anything, it finds in build/: files of the same names.
gcc-13 -O2 -Wall -Wextra -Werror -fPIC -shared -Wl,-z,relro,-z,now -o parked.so parked.c csharp.c
rm parked.c parked.h zygote.h csharp.c
mkdir build
: >build/Main.dll
: >build/Main.pdb

# Each generator in turn must produce code, or the programs that want it fail. The compiler must be compiled ahead (ReadyToRun), or its start takes
# seconds.
cat >/tmp/probe.cs <<'EOF'
using System.Reflection.PortableExecutable;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
foreach (var name in (string[])["Microsoft.CodeAnalysis", "Microsoft.CodeAnalysis.CSharp", "VBCSCompiler"])
    using (var dll = new PEReader(File.OpenRead($"{args[0]}/{name}.dll")))
        if (dll.PEHeaders.CorHeader!.ManagedNativeHeaderDirectory.Size == 0)
            throw new Exception($"{name}.dll holds no machine code: a Roslyn of an SDK has it");
Console.WriteLine(P.R().IsMatch("abc") + C.Default.Int32.ToString() + P.getpid());
static partial class P
{
    [GeneratedRegex("b+")] public static partial Regex R();
    [System.Runtime.InteropServices.LibraryImport("libc")] public static partial int getpid();
}
[System.Runtime.InteropServices.Marshalling.GeneratedComInterface, System.Runtime.InteropServices.Guid("00000000-0000-0000-0000-000000000001")]
partial interface I { void M(); }
[JsonSerializable(typeof(int))] partial class C : JsonSerializerContext { }
EOF
dotnet exec roslyn/compile.dll -unsafe /tmp/probe.cs
dotnet exec --runtimeconfig Main.runtimeconfig.json /build/Main.dll roslyn
