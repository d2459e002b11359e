puts gets.split.sum(&:to_i)
puts gets.chomp.upcase
