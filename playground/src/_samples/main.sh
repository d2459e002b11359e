# A bar for each line "name number" of the input. Name what to leave out in the arguments.
while read -r name number; do
  [[ " $* " == *" $name "* ]] && continue
  printf -v bar '%*s' "$number" ''
  printf '%-8s \e[32m%s\e[0m %d\n' "$name" "${bar// /█}" "$number"
done
