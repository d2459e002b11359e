from tools.arithmetic import add

print(f"1 + 2 = {add(1, 2)}")
