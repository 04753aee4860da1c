package pgpeer

import (
	"errors"
	"sync"
)

// together takes n things at the same time, and gives all of them back once it has them.
func together(n int, take func() (giveBack func(), err error)) error {
	var mu sync.Mutex // guards errs and back
	var errs []error
	var back []func()
	var taking sync.WaitGroup
	for range n {
		taking.Go(func() {
			giveBack, err := take()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			back = append(back, giveBack)
		})
	}
	taking.Wait()
	for _, giveBack := range back {
		giveBack()
	}
	return errors.Join(errs...)
}
