line = ("0123456789abcdef" * 4)[:63]
for _ in range(16384):
    print(line)
