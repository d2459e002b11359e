set -e
cat missing.txt
echo never
