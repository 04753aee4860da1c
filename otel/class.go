package lockotel

import "sync"

// OtherClass is the class of keys beyond the first 100 classes.
const OtherClass = "_OTHER"

// maxClasses bounds the time series that a key-class function can cause.
const maxClasses = 100

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
	class := c.of(key)
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
