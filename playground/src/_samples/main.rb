# A bar for each line "name number" of the input. Name what to leave out in the arguments.
while (line = $stdin.gets)
  name, number = line.split
  next if ARGV.include?(name)

  puts format("%-8s \e[31m%s\e[0m %d", name, "█" * number.to_i, number)
end
