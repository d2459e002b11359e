import sys

print(sum(int(n) for n in input().split()))
print(sys.stdin.read().strip().upper())
