#include <algorithm>
#include <iostream>
#include <sstream>
#include <string>

int main() {
	std::string numbers, word;
	std::getline(std::cin, numbers);
	std::getline(std::cin, word);
	std::istringstream in(numbers);
	int sum = 0;
	for (int n; in >> n;)
		sum += n;
	std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
	std::cout << sum << "\n" << word << "\n";
}
