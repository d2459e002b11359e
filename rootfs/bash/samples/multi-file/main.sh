source ./tools/arithmetic.sh

echo "1 + 2 = $(add 1 2)"
