export KEPT="left by the program"
(
	export FROM_CHILD="must not be handed out"
)
trap 'export AT_EXIT=1' EXIT
echo "${LD_PRELOAD-unset}"
env | grep -c ^LD_PRELOAD=
exit 0
