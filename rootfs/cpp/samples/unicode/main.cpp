#include <algorithm>
#include <iostream>
#include <string>

int main() {
	std::string text;
	std::getline(std::cin, text);
	auto characters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
	std::cout << "héllo wörld, 你好 🌍\n" << characters << " " << text << "\n";
}
