# A precompiled <bits/stdc++.h>: 1.8 s become 0.7 s. It is used only when the flags match those of lang.json, else ignored in silence;
# so it is proven here: -H marks a precompiled header in use by "!". The folder takes one for each set of flags.
header=$(find /usr/include -path '*/c++/13/bits/stdc++.h')
mkdir "$header.gch"
g++-13 -O2 -std=gnu++20 -pthread -x c++-header -o "$header.gch/gnu++20" "$header"

echo '#include <bits/stdc++.h>' >/tmp/probe.cpp
echo 'int main() { std::cout << 1; }' >>/tmp/probe.cpp
g++-13 -O2 -std=gnu++20 -pthread -H -c -o /tmp/probe.o /tmp/probe.cpp 2>&1 | grep -q '^! .*gch/gnu++20'
