# Temporary files in memory, for the tests; POSIX sh, to be sourced.
#
# The tests start hundreds of servers, with a thousand files each. On ext4, which looks for a new file's number past all
# those that were removed in the last seconds, that is a fifth of the processors' time.

# memory_has_room: 6 GiB are available, and 4 of them to files in /dev/shm.
memory_has_room() {
	[ -d /dev/shm ] && [ -r /proc/meminfo ] &&
		awk '$1 == "MemAvailable:" { enough = $2 >= 6 * 1024 * 1024 } END { exit !enough }' /proc/meminfo &&
		df -Pk /dev/shm | awk 'NR == 2 { enough = $4 >= 4 * 1024 * 1024 } END { exit !enough }'
}

# memory_folder makes a folder in memory and prints its path, or fails. The path is the same each time, since go keeps a test's
# result for the environment that the test has seen. Containers often keep programs from running there.
memory_folder() {
	memory_has_room || return 1
	folder=/dev/shm/lockkeeper-$(id -u)-$(pwd | cksum | cut -d' ' -f1)
	mkdir "$folder" 2>/dev/null || [ -O "$folder" ] || return 1
	# Open to the servers' own user.
	if chmod 755 "$folder" && echo '#!/bin/sh' >"$folder/program" && chmod 700 "$folder/program" &&
		"$folder/program" 2>/dev/null && rm "$folder/program"; then
		echo "$folder"
	else
		rm -rf "$folder"
		return 1
	fi
}
