package manager

import "slices"

// edge says that work inside a hold of one key waits for another key. Processes show each other their edges as shared locks at the server,
// whose ids are made of two keys' folded ids. (Two keys fold to one number with a chance of 2^-32.)
type edge struct{ from, to uint32 }

// fold makes 32 bits of a lock's id. The server does the same: see marksSQL.
func fold(id int64) uint32 { return uint32(uint64(id)>>32) ^ uint32(uint64(id)) }

// id is that of the lock which shows the edge: the server has the first key in its high half, classid, the second in objid.
func (e edge) id() int64 { return int64(uint64(e.from)<<32 | uint64(e.to)) }

func (e edge) less(than edge) bool { return uint64(e.id()) < uint64(than.id()) }

// graph is who waits for whom: from each key the keys that work inside its holds waits for, in order.
type graph map[uint32][]uint32

func (g graph) add(e edge) {
	if i, found := slices.BinarySearch(g[e.from], e.to); !found {
		g[e.from] = slices.Insert(g[e.from], i, e.to)
	}
}

func (g graph) has(e edge) bool {
	_, found := slices.BinarySearch(g[e.from], e.to)
	return found
}

// circles is the graph without what leads nowhere: edges that are part of a circle, or lead to one. Empty: there is no circle.
func (g graph) circles() graph {
	into, left := make(map[uint32][]uint32), make(map[uint32]int)
	var ends []uint32
	for from, all := range g {
		left[from] = len(all)
		for _, to := range all {
			into[to] = append(into[to], from)
			if len(g[to]) == 0 {
				ends = append(ends, to)
			}
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	for len(ends) > 0 {
		end := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		for _, from := range into[end] {
			if left[from]--; left[from] == 0 {
				ends = append(ends, from)
			}
		}
	}
	out := make(graph)
	for from, all := range g {
		if left[from] == 0 {
			continue
		}
		for _, to := range all {
			if left[to] > 0 {
				out[from] = append(out[from], to)
			}
		}
	}
	return out
}

// circleOf is a circle that begins with e; nil if there is none. rank is how many of its edges are larger than e: all who see the circle
// agree who comes first. If e is the largest of any circle, that one is taken.
func (g graph) circleOf(e edge) (path []edge, rank int) {
	if path = g.path(e.to, e.from, func(next edge) bool { return next.less(e) }); path == nil {
		path = g.path(e.to, e.from, func(edge) bool { return true })
	}
	if path == nil {
		return nil, 0
	}
	for _, other := range path {
		if e.less(other) {
			rank++
		}
	}
	return append([]edge{e}, path...), rank
}

// path is a shortest way from one key to another over such edges as may be used.
func (g graph) path(from, to uint32, may func(edge) bool) []edge {
	before := map[uint32]edge{from: {}}
	for queue := []uint32{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g[queue[0]] {
			e := edge{queue[0], next}
			if !may(e) {
				continue
			}
			if next == to {
				return append(wayTo(before, from, queue[0]), e)
			}
			if _, seen := before[next]; !seen {
				before[next] = e
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// wayTo goes back over the edges by which each key was reached.
func wayTo(before map[uint32]edge, from, key uint32) []edge {
	var way []edge
	for key != from {
		e := before[key]
		way = append(way, e)
		key = e.from
	}
	slices.Reverse(way)
	return way
}

// mark is an edge as the server shows it: with the pid of a session of the process whose work waits.
type mark struct {
	edge
	pid uint32
}

// view is what a look at the server shows.
type view struct {
	marks        map[mark]bool
	applications map[uint32]string  // by pid
	keys         map[uint32][]int64 // the ids of the locks that are held, by folded id: of those that edges begin with
}

// graph is that of the marks which were there at an earlier look too, and of this process's own edges. A nil earlier look has them all.
func (v *view) graph(earlier *view, own map[edge]*ownEdge) graph {
	g := make(graph)
	for m := range v.marks {
		if earlier == nil || earlier.marks[m] {
			g.add(m.edge)
		}
	}
	for e := range own {
		g.add(e)
	}
	return g
}
