package netfault

// setns is the number of the system call; package syscall does not have it for this processor.
const setns = 308
