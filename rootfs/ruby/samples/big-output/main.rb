line = ("0123456789abcdef" * 4)[0, 63]
16384.times { puts line }
