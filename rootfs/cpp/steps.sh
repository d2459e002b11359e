# The compiler driver of C with the words of C++. The sample fast-path looks at whether it is taken.
common=/usr/lib/runtools/c
words='-pipe -O2 -std=gnu++20 -pthread -o /build/main'
sh -eu $common/plan.sh /usr/bin/g++-13 '.cpp .cc .cxx' $words '{sources}' >plan.h
gcc-13 -O2 -static -Wall -Wextra -Werror -I. -o g++ $common/driver.c
sh -eu $common/same.sh "$PWD/g++" /usr/bin/g++-13 .cpp "$words" ""

# A precompiled <bits/stdc++.h>, its templates instantiated (instantiate.cc): 1.8 s become 0.2 s. It is used only when the flags match
# those of lang.json, else ignored in silence; so it is proven here: -H marks a precompiled header in use by "!". The folder takes one
# for each set of flags. The pragma stands in the header itself while it is compiled, for messages name the file that was.
plugins=$(g++-13 -print-file-name=plugin)/include
g++-13 -O1 -fno-rtti -fPIC -shared -Wall -Wextra -I "$plugins" -o /tmp/instantiate.so instantiate.cc
header=$(find /usr/include -path '*/c++/13/bits/stdc++.h')
mkdir "$header.gch"
cp -p "$header" /tmp/header
echo '#pragma runtools instantiate' >>"$header"
g++-13 -O2 -std=gnu++20 -pthread -Werror=unknown-pragmas -fplugin=/tmp/instantiate.so -x c++-header -o "$header.gch/gnu++20" "$header"
cp -p /tmp/header "$header"

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
g++-13 -O2 -std=gnu++20 -pthread -H -c -o /tmp/probe.o /tmp/probe.cpp 2>&1 | grep -q '^! .*gch/gnu++20'
./g++ $words /tmp/probe.cpp
[ "$(/build/main)" = "a2   shape1" ]

# Nothing is left to instantiate at the end of a program.
echo '#include <bits/stdc++.h>
int main() {}' >/tmp/empty.cpp
# The memory that it takes is told in bytes or k; it was 37M.
if g++-13 -O2 -std=gnu++20 -pthread -ftime-report -c -o /tmp/empty.o /tmp/empty.cpp 2>&1 | grep -q '^ template instantiation .*[0-9]M'; then
	echo "the precompiled header has templates left to instantiate"
	exit 1
fi
