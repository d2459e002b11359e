text = gets.chomp
puts "héllo wörld, 你好 🌍"
puts "#{text.length} #{text}"
