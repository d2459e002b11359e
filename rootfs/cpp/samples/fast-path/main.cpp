// The compiler driver of this language was taken: gold links, and leaves its name in the file, "GNU\0gold". The letters stand alone
// here, or they would find themselves.
#include <bits/stdc++.h>

int main()
{
	std::ifstream file("/proc/self/exe", std::ios::binary);
	std::vector<char> self{std::istreambuf_iterator<char>(file), {}};
	for (auto p = self.begin(); p + 8 < self.end(); ++p)
		if (p[0] == 'G' && p[1] == 'N' && p[2] == 'U' && p[3] == 0 && p[4] == 'g' && p[5] == 'o' && p[6] == 'l' && p[7] == 'd') {
			std::cout << "taken\n";
			return 0;
		}
	std::cout << "not taken\n";
}
