import math
print(f"Pi = {math.pi:.10f}")
primes = [n for n in range(2, 50) if all(n % i != 0 for i in range(2, n))]
print(f"Primes under 50: {primes}")
print(sum(range(1, 101)))
