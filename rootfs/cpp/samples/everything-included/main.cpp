#include <bits/stdc++.h>

using namespace std;

int main() {
	vector<int> v{5, 3, 4};
	ranges::sort(v);
	map<string, int> m{{"a", 1}};
	jthread t([&] { m["b"] = accumulate(v.begin(), v.end(), 0); });
	t.join();
	cout << v[0] << " " << m["b"] << " " << sqrt(16.0) << "\n";
}
