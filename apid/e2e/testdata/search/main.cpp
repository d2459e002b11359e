#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
namespace fs = std::filesystem;

static std::string secret, own;

static void look(const fs::path &path)
{
	std::ifstream in(path, std::ios::binary);
	std::string content(1 << 20, 0);
	in.read(content.data(), content.size());
	content.resize(in.gcount());
	if (content.find(secret) != std::string::npos) std::cout << "SECRET in " << path << "\n";
	if (content.find(own) != std::string::npos) std::cout << "own\n";
}

static void walk(const fs::path &folder)
{
	std::error_code error;
	for (fs::directory_iterator i(folder, fs::directory_options::skip_permission_denied, error), end; !error && i != end; i.increment(error)) {
		std::string name = i->path().filename();
		auto kind = i->symlink_status(error).type();
		if (kind == fs::file_type::directory) walk(i->path());
		if (kind == fs::file_type::regular && name != "mem" && name != "kmsg" && name != "pagemap" && name != "kcore") look(i->path());
	}
}

int main(int argc, char **argv)
{
	std::cin >> secret >> own;
	std::reverse(secret.begin(), secret.end());
	std::reverse(own.begin(), own.end());
	for (int i = 1; i < argc; i++) walk(argv[i]);
}
