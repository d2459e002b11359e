#include "tools/arithmetic.hpp"
#include <iostream>

int main() {
	std::cout << "1 + 2 = " << add(1, 2) << "\n";
}
