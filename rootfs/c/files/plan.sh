#!/bin/sh -eu
# plan.sh DRIVER EXTENSIONS WORDS...: prints plan.h of driver.c for the command DRIVER WORDS..., one word of which is {sources}, as
# `DRIVER -###` says what it would run. Makes ./lib, where gold finds all libraries in one small folder: it reads each folder it is given.
plain=$1 extensions=$2
shift 2
suffix=${extensions%% *}
lib=$PWD/lib
mkdir lib

command=
for w; do
	command="$command $([ "$w" = '{sources}' ] && echo SOURCES || echo "\"$w\""),"
	set -- "$@" "$([ "$w" = '{sources}' ] && echo "./probe$suffix" || echo "$w")"
	shift
done
"$plain" -fuse-ld=gold -### "$@" 2>&1 | sed 's/^ //; s/"//g' >/tmp/said
# With the space: names of temporary files are /tmp/cc and six characters, and one in sixty goes on with a 1.
grep -E '/cc1(plus)? |^as |/collect2 ' /tmp/said >/tmp/plan || true
if [ "$(wc -l </tmp/plan)" -ne 3 ]; then
	echo "$plain -### does not say three commands, compiler, assembler and linker, but:"
	cat /tmp/said
	exit 1
fi

for l in $(grep -o ' -l[^ ]*' /tmp/plan | sort -u | sed s/-l//); do
	for f in "lib$l.so" "lib$l.so.1" "lib$l.a"; do
		path=$("$plain" -print-file-name="$f")
		if [ "$path" != "$f" ]; then ln -s "$(readlink -f "$path")" "lib/$f"; fi
	done
done

array() { echo "static const char *const $1[] = {$2 NULL};"; }
array command "$command"
array extensions "$(for e in $extensions; do printf '"%s", ' "$e"; done)"
echo "static const char PLAIN[] = \"$plain\";"
awk -v suffix="$suffix" -v as="$(command -v as)" -v gold="$(command -v ld.gold)" -v lib="$lib" '
	function array(name) { printf "static const char *const %s[] = {%s NULL};\n", name, words }
	function add(w) { words = words " " w "," }
	function text(w) { add("\"" w "\"") }
	{ words = "" }
	/\/cc1(plus)? / {
		for (i = 1; i <= NF && $i != "|"; i++)
			if ($i == "./probe" suffix) add("SOURCE")
			else if ($i == "probe" suffix) add("BASE")
			else if ($i == suffix) add("EXTENSION")
			else if ($i != "-fuse-ld=gold") text($i)
		array("compiler")
	}
	/^as / {
		text(as)
		for (i = 2; i <= NF; i++)
			if ($i ~ /^\/tmp\//) add("OBJECT")
			else text($i)
		array("assembler")
	}
	/\/collect2 / {
		# Constants stay unexecutable, as the default linker has it; an executable stack is something that it warns of.
		text(gold); text("--rosegment"); text("--warn-execstack"); text("-nostdlib"); text("-L" lib)
		for (i = 2; i <= NF; i++)
			if ($i == "-plugin") i++
			else if ($i ~ /^\/tmp\//) add("OBJECTS")
			else if ($i !~ /^-plugin-opt=|^-fuse-ld=|^-L/) text($i)
		array("linker")
	}' /tmp/plan
