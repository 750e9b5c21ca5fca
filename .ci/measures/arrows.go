package main

import (
	"fmt"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// arrows counts the arrows between the files of a room, and those that run against its best order.
func (r *room) arrows(set *token.FileSet) (all, back int) {
	edges := r.edges(set)
	for _, e := range edges {
		all += len(e)
	}
	return all, len(against(edges, refine(edges, order(edges))))
}

// explain prints the best order of a room, and the arrows that run against it.
func (r *room) explain(set *token.FileSet) {
	edges := r.edges(set)
	best := refine(edges, order(edges))
	for _, i := range best {
		fmt.Println(r.files[i].name)
	}
	for _, a := range against(edges, best) {
		fmt.Printf("back: %s → %s: %s\n", r.files[a[0]].name, r.files[a[1]].name, strings.Join(edges[a[0]][a[1]], " "))
	}
}

// edges are the arrows of each file, each with the names that make it.
func (r *room) edges(set *token.FileSet) []map[int][]string {
	places := map[string]int{}
	for i, f := range r.files {
		places[f.name] = i
	}
	edges := make([]map[int][]string, len(r.files))
	for i := range edges {
		edges[i] = map[int][]string{}
	}
	for id, what := range r.uses {
		if _, field := what.(*types.Var); what.Pkg() == nil || field && what.Parent() != what.Pkg().Scope() {
			continue // a field is part of its type
		}
		to, here := places[filepath.Base(set.Position(what.Pos()).Filename)]
		from := places[filepath.Base(set.Position(id.Pos()).Filename)]
		if here && from != to && filepath.Dir(set.Position(what.Pos()).Filename) == filepath.Dir(set.Position(id.Pos()).Filename) {
			if names := edges[from][to]; !slices.Contains(names, what.Name()) {
				edges[from][to] = append(names, what.Name())
			}
		}
	}
	return edges
}

// against lists the arrows that run against an order, each from one file to another.
func against(edges []map[int][]string, order []int) (back [][2]int) {
	place := make([]int, len(edges))
	for p, i := range order {
		place[i] = p
	}
	for _, from := range order {
		for _, to := range order {
			if _, ok := edges[from][to]; ok && place[from] > place[to] {
				back = append(back, [2]int{from, to})
			}
		}
	}
	return back
}

// refine moves single files while that turns arrows.
func refine(edges []map[int][]string, order []int) []int {
	best := len(against(edges, order))
	for better := true; better; {
		better = false
		for from := range order {
			for to := range order {
				next := slices.Insert(slices.Delete(slices.Clone(order), from, from+1), to, order[from])
				if n := len(against(edges, next)); n < best {
					order, best, better = next, n, true
				}
			}
		}
	}
	return order
}

// order puts the files in an order in which most arrows go from a former to a later one.
func order(edges []map[int][]string) []int {
	left := map[int]bool{}
	for i := range edges {
		left[i] = true
	}
	var first, last []int
	for len(left) > 0 {
		best, score, sink := -1, 0, false
		for i := range edges {
			if !left[i] {
				continue
			}
			out, in := degrees(edges, left, i)
			if out == 0 {
				best, sink = i, true
				break
			}
			if best < 0 || out-in > score {
				best, score = i, out-in
			}
		}
		delete(left, best)
		if sink {
			last = append(last, best)
		} else {
			first = append(first, best)
		}
	}
	slices.Reverse(last)
	return append(first, last...)
}

func degrees(edges []map[int][]string, left map[int]bool, i int) (out, in int) {
	for j := range edges[i] {
		if left[j] {
			out++
		}
	}
	for j := range left {
		if _, ok := edges[j][i]; ok {
			in++
		}
	}
	return out, in
}
