package simulate

import (
	"context"
	"fmt"
	"strings"

	"github.com/trunkline/trunkline/internal/bus"
)

// Since answers as bus.Log says.
func (s *Store) Since(ctx context.Context, a bus.Address, _ bus.Retention, after bus.Position, limit int) (bus.Page, error) {
	return await(ctx, s, "read", place(a, after), func() (page bus.Page, err error) {
		page, gap := s.log(a).since(s.start(a), after, limit)
		if gap {
			err = bus.ErrGap
		}
		return page, err
	})
}

// Latest answers as bus.Log says.
func (s *Store) Latest(ctx context.Context, a bus.Address, _ bus.Retention, before uint64, limit int) (bus.Page, error) {
	return await(ctx, s, "read back", a.String(), func() (page bus.Page, err error) {
		r := s.log(a)
		page.Top = s.top(a)
		at := r.top
		if before > 0 && before <= r.top {
			at = before - 1
		}
		page.Next = page.Top
		for ; at >= r.first() && at > 0 && len(page.Messages) < limit; at-- {
			page.Messages = append(page.Messages, r.entries[at-r.first()])
			page.Next = r.position(at)
		}
		page.More = at >= r.first() && at > 0
		return page, nil
	})
}

// Tops answers as bus.Log says.
func (s *Store) Tops(ctx context.Context, addresses []bus.Address) ([]bus.Position, []error) {
	tops, err := await(ctx, s, "tops", names(addresses), func() ([]bus.Position, error) {
		tops := make([]bus.Position, len(addresses))
		for i, a := range addresses {
			tops[i] = s.top(a)
		}
		return tops, nil
	})
	if err != nil {
		return make([]bus.Position, len(addresses)), bus.AllFailed(len(addresses), err)
	}
	return tops, nil
}

func (s *Store) top(a bus.Address) bus.Position {
	if r := s.log(a); r.epoch != "" {
		return r.position(r.top)
	}
	return s.start(a)
}

func place(a bus.Address, p bus.Position) string { return fmt.Sprint(a, " after ", spell(p)) }

func spell(p bus.Position) string { return fmt.Sprint(p.Epoch, ":", p.Offset) }

func names(addresses []bus.Address) string {
	all := make([]string, len(addresses))
	for i, a := range addresses {
		all[i] = a.String()
	}
	return strings.Join(all, " ")
}

// Reaches says whether a log has come to a position, and has kept its end since.
func (s *Store) Reaches(a bus.Address, p bus.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	page, gap := s.log(a).since(s.start(a), p, 0)
	return !gap || page.Unproved
}
