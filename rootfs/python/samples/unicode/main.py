text = input()
print("héllo wörld, 你好 🌍")
print(len(text), text)
