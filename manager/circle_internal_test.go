package manager

import (
	"testing"

	"pgregory.net/rapid"
)

func graphOf(edges ...edge) graph {
	g := make(graph)
	for _, e := range edges {
		g.add(e)
	}
	return g
}

func TestCircleOf(t *testing.T) {
	g := graphOf(edge{1, 2}, edge{2, 3}, edge{3, 1}, edge{3, 4}, edge{4, 5}, edge{9, 1}, edge{2, 1})
	for _, row := range []struct {
		of   edge
		long int // the circle's length; 0: none
		rank int
	}{
		{edge{1, 2}, 2, 1}, // over 2-1: by 2-3 and 3-1 it would be longer
		{edge{2, 1}, 2, 0},
		{edge{2, 3}, 3, 1},
		{edge{3, 1}, 3, 0},
		{edge{3, 4}, 0, 0},
		{edge{4, 5}, 0, 0},
		{edge{9, 1}, 0, 0},
	} {
		path, rank := g.circleOf(row.of)
		if len(path) != row.long || rank != row.rank || len(path) > 0 && path[0] != row.of {
			t.Errorf("the circle of %v is %v, rank %d", row.of, path, rank)
		}
		for i, e := range path {
			if next := path[(i+1)%len(path)]; e.to != next.from {
				t.Errorf("%v is no circle", path)
			}
		}
	}
	circles := g.circles()
	for _, e := range []edge{{1, 2}, {2, 3}, {3, 1}, {2, 1}, {9, 1}} {
		if !circles.has(e) {
			t.Errorf("%v is part of a circle, or leads to one", e)
		}
	}
	if circles.has(edge{3, 4}) || circles.has(edge{4, 5}) || len(graphOf(edge{1, 2}, edge{2, 3}, edge{1, 3}).circles()) != 0 {
		t.Errorf("what leads nowhere is left: %v", circles)
	}
}

// In each graph with circles, one edge at least is the first to give up; and circles leaves an edge out only if it is part of none.
func TestCirclesOfRandomGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Uint32Range(1, 8)
		edges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) edge { return edge{key.Draw(t, "from"), key.Draw(t, "to")} }), 0, 16).Draw(t, "edges")
		g := graphOf(edges...)
		circles, inCircle, first := g.circles(), 0, 0
		for _, e := range edges {
			path, rank := g.circleOf(e)
			if path == nil {
				continue
			}
			inCircle++
			if rank == 0 {
				first++
			}
			if !circles.has(e) {
				t.Fatalf("%v is part of %v, and not of %v", e, path, circles)
			}
		}
		if (len(circles) > 0) != (inCircle > 0) || (first > 0) != (inCircle > 0) {
			t.Fatalf("%v: %d edges are part of circles, %d come first, and circles leaves %v", g, inCircle, first, circles)
		}
	})
}

func TestEdgeIDs(t *testing.T) {
	e := edge{0xfedcba98, 0x76543210}
	if uint64(e.id()) != 0xfedcba9876543210 || fold(e.id()) != 0xfedcba98^0x76543210 || !(edge{1, 2}).less(edge{0xf0000000, 0}) {
		t.Errorf("%x, %x", uint64(e.id()), fold(e.id()))
	}
}

// Marks count as a circle when they were there at an earlier look too; own edges are known without a look.
func TestACircleSeenInPassing(t *testing.T) {
	own := map[edge]*ownEdge{{1, 2}: {}}
	back := mark{edge{2, 1}, 7}
	now, before, other := &view{marks: map[mark]bool{back: true}}, &view{marks: map[mark]bool{back: true}}, &view{marks: map[mark]bool{{edge{2, 1}, 8}: true}}
	for _, row := range []struct {
		name    string
		earlier *view
		circle  bool
	}{{"none", nil, true}, {"the same", before, true}, {"of another session", other, false}, {"of nobody", &view{}, false}} {
		if got := len(now.graph(row.earlier, own).circles()) > 0; got != row.circle {
			t.Errorf("with an earlier look that saw the mark %s: %v", row.name, got)
		}
	}
}
