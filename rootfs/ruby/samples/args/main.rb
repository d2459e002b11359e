puts ARGV.length
ARGV.each { |arg| puts "[#{arg}]" }
