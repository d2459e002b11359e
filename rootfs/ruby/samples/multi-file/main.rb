require_relative "tools/arithmetic"

puts "1 + 2 = #{Arithmetic.add(1, 2)}"
