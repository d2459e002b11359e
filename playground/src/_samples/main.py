import sys

# A bar for each line "name number" of the input. Name what to leave out in the arguments.
for line in sys.stdin:
    name, number = line.split()
    if name not in sys.argv[1:]:
        print(f"{name:8} \033[36m{'█' * int(number)}\033[0m {number}")
