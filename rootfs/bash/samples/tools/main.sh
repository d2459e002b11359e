printf '%s\n' 3 1 2 | sort | tr '\n' ' '
echo
seq 3 | awk '{ s += $1 } END { print s }'
echo '2 ^ 70' | bc
find . -name '*.sh' | xargs -n 1 basename
echo abc | sed 's/b/B/' | grep -o B
diff <(echo a) <(echo a) && echo same
for tool in ps time date file; do command -v "$tool" >/dev/null && echo "$tool"; done
