read -r secret; read -r own
secret=$(rev <<<"$secret"); own=$(rev <<<"$own")
find "$@" -type f ! -name mem ! -name kmsg ! -name pagemap ! -name kcore -print0 2>/dev/null |
	while IFS= read -r -d '' path; do
		head -c 1048576 "$path" 2>/dev/null >/tmp/content
		grep -qaF "$secret" /tmp/content 2>/dev/null && echo "SECRET in $path"
		[ "$path" != /tmp/content ] && grep -qaF "$own" /tmp/content 2>/dev/null && echo own
	done
true
