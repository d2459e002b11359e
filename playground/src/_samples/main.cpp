#include <iomanip>
#include <iostream>
#include <set>
#include <string>

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
int main(int argc, char **argv)
{
    const std::set<std::string> left(argv + 1, argv + argc);
    std::string name;
    for (int number; std::cin >> name >> number;) {
        if (left.contains(name))
            continue;
        std::cout << std::left << std::setw(8) << name << " \033[36m";
        for (int i = 0; i < number; i++)
            std::cout << "█";
        std::cout << "\033[0m " << number << '\n';
    }
}
