package directives

import "sync/atomic"

//arch:publish a verb that does not exist
var count atomic.Int64 // written by all

func swap() int64 {
	//arch:publishes
	old := count.Swap(0)
	old += count.Swap(0) //arch:publishes a good reason
	old += count.Swap(0)
	//arch:publishes nothing here needs it
	return old
}
