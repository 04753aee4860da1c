package netfault

// setns is the number of the system call.
const setns = 268
