sh tools.sh
: >log
(sleep 0.3; echo line >>log) &
[ "$(timeout 20 tail -n +1 -f log | head -n 1)" = line ] && echo done
