# The compiler driver of C with the words of C++. The sample fast-path looks at whether it is taken.
common=/usr/lib/runtools/c
plugins=$(g++-13 -print-file-name=plugin)/include
plugin() { g++-13 -O2 -fno-rtti -fPIC -shared -Wall -Wextra -I "$plugins" -o "$2" "$1"; }
words='-pipe -O2 -std=gnu++20 -pthread -o /build/main'
sh -eu $common/plan.sh /usr/bin/g++-13 '.cpp .cc .cxx' $words '{sources}' >plan.h
# Messages tell of a precompiled header that it was included, as of any other.
plugin included.cc "$PWD/included.so"
sed -i "/ compiler\[\]/s#NULL#\"-fplugin=$PWD/included.so\", NULL#" plan.h
gcc-13 -O2 -static -Wall -Wextra -Werror -DPAGES="\"$common/pages.so\"" -I. -o g++ $common/driver.c
sh -eu $common/same.sh "$PWD/g++" /usr/bin/g++-13 .cpp "$words" ""

# Precompiled headers, with the templates that they use instantiated (instantiate.cc): <bits/stdc++.h> takes 0.07 s and not 1.8 s, <iostream>
# 0.03 s and not 0.3 s. GCC takes one for the first include of a source, when the flags match those of lang.json, else ignores it in
# silence; so it is proven here. The folder takes one for each set of flags. The pragma stands in the header itself while it is compiled,
# for messages name the file that was. <iostream> warns that it calls itself a system header: only its own few lines are then none.
plugin instantiate.cc /tmp/instantiate.so
precompile() {
	mkdir "$1.gch"
	cp -p "$1" /tmp/header
	echo '#pragma runtools instantiate' >>"$1"
	g++-13 -O2 -std=gnu++20 -pthread -Werror=unknown-pragmas -fplugin=/tmp/instantiate.so -x c++-header -o "$1.gch/gnu++20" "$1"
	cp -p /tmp/header "$1"
}
# taken HEADER: the very command of the driver takes it for /tmp/probe.cpp: -H marks a precompiled header in use by "!". Nothing is left to
# instantiate at the end of a program: the memory that this takes is told in bytes or k; it was 37M for <bits/stdc++.h>.
taken() {
	compiler=$(sed -n 's/^static const char \*const compiler\[\] = {\(.*\) NULL};$/\1/p' plan.h |
		sed 's/[",]//g; s# SOURCE # /tmp/probe.cpp #; s/ BASE / probe.cpp /; s/ EXTENSION / .cpp /')
	$compiler -H 2>&1 >/dev/null | grep -xF "! $1.gch/gnu++20" >/dev/null # not -q: the compiler would be killed as it goes on
	printf '#include <%s>\nint main() {}\n' "${1#*/c++/13/}" >/tmp/empty.cpp
	g++-13 -O2 -std=gnu++20 -pthread -ftime-report -c -o /tmp/empty.o /tmp/empty.cpp 2>/tmp/report
	if grep '^ template instantiation .*[0-9]M' /tmp/report; then
		echo "precompiled $1 has templates left to instantiate"
		exit 1
	fi
}
everything=$(find /usr/include -path '*/c++/13/bits/stdc++.h')
iostream=/usr/include/c++/13/iostream
precompile "$everything"
precompile "$iostream"

cat >/tmp/probe.cpp <<'END'
#include <bits/stdc++.h>
struct shape { virtual ~shape() = default; virtual std::string name() const { return std::format("{:>8}", "shape"); } };
int main() {
	std::map<std::string, std::vector<int>> m{{"a", {1, 2}}};
	std::shared_ptr<shape> s = std::make_shared<shape>();
	auto f = std::async([] { return std::regex_match("ab", std::regex("a.")); });
	for (auto& [k, v] : m) std::cout << k << v.size() << s->name() << f.get();
}
END
taken "$everything"
./g++ $words /tmp/probe.cpp
[ "$(/build/main)" = "a2   shape1" ]

cat >/tmp/probe.cpp <<'END'
#include <iostream>
#include <map>
#include <vector>
int main() {
	std::map<std::string, std::vector<int>> m{{"a", {1, 2}}};
	for (auto& [k, v] : m) std::cout << k << v.size() << " words\n";
}
END
taken "$iostream"
./g++ $words /tmp/probe.cpp
[ "$(/build/main)" = "a2 words" ]
