puts "never"
def f(
