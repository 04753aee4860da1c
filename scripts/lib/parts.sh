# Tests in several processes side by side; POSIX sh, to be sourced from the repository's root.
#
# Their output goes to files in the folder $out, and their process numbers to the list $parts. When the script ends, also by Ctrl-C, those that
# run still are ended and the folder goes. Temporary files are in memory where it has room for them, unless TMPDIR says where to put them.

. scripts/lib/memory.sh
memory=''
if [ -z "${TMPDIR-}" ] && memory=$(memory_folder); then
	export TMPDIR="$memory"
fi
out=$(mktemp -d) || exit 1
parts=''
finish_parts() {
	# shellcheck disable=SC2086 # process numbers
	[ -z "$parts" ] || { kill $parts 2>/dev/null; wait $parts; }
	rm -rf "$out"
	[ -z "$memory" ] || rmdir "$memory" 2>/dev/null || echo "${0##*/}: left behind in $memory: $(ls "$memory")" >&2
}
trap finish_parts EXIT
trap 'exit 130' INT TERM

# join_parts waits for all of them, and fails where one has.
join_parts() {
	joined=0
	for p in $parts; do
		wait "$p" || joined=1
	done
	parts=''
	return $joined
}
