#include <iostream>

int main() {
	std::cout.write("\xff\xfe\x00" "A\n", 5);
}
