read -r -a numbers
read -r word
sum=0
for n in "${numbers[@]}"; do ((sum += n)); done
echo "$sum"
echo "${word^^}"
