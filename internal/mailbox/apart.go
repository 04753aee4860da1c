package mailbox

// Apart is a field that keeps what is before it and what comes after from being on one line of a processor's cache: what
// many write would slow down those who only read what is beside it.
type Apart [64]byte
