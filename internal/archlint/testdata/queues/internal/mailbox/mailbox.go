// Package mailbox has the name of a queue that was made by hand.
package mailbox

// Mailbox is empty.
type Mailbox struct{}
