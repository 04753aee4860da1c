package lockotel

import (
	"strings"
	"sync"
)

// OtherClass is the class of keys beyond the first 100 classes.
const OtherClass = "_OTHER"

// maxClasses bounds the time series that a key-class function can cause.
const maxClasses = 100

// valid is a text as attributes have to be: an exporter drops the whole of what it was to send with one that is no UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// classes bounds the number of classes. Any goroutine may use it: several managers may share an observer.
type classes struct {
	of func(key string) string // nil: there are none

	mu    sync.Mutex
	known map[string]struct{}
}

// name is the class of a key; empty where there is none.
func (c *classes) name(key string) string {
	if c.of == nil {
		return ""
	}
	class := valid(c.of(key))
	if class == "" {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, is := c.known[class]; is {
		return class
	}
	if len(c.known) == maxClasses {
		return OtherClass
	}
	c.known[class] = struct{}{}
	return class
}
