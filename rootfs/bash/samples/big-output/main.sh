line=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde
for ((i = 0; i < 16384; i++)); do echo "$line"; done
