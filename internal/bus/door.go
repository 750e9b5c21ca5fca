package bus

import "context"

// Admitted is a publication that a Door has let in: what a store takes. The zero Admitted publishes nothing.
type Admitted struct{ p *Publication }

// Publication returns what was let in.
func (a Admitted) Publication() Publication {
	if a.p == nil {
		return Publication{}
	}
	return *a.p
}

// Publications returns what was let in, by index.
func Publications(list []Admitted) []Publication {
	ps := make([]Publication, len(list))
	for i, a := range list {
		ps[i] = a.Publication()
	}
	return ps
}

// AdmittedState is a change of a state, or its removal, that a Door has let in.
type AdmittedState struct{ c *StateChange }

// Change returns what was let in.
func (a AdmittedState) Change() StateChange {
	if a.c == nil {
		return StateChange{}
	}
	return *a.c
}

// Caller is for whom something is published.
type Caller interface {
	// Check returns nil when the caller may do the action on the address, and otherwise the refusal.
	Check(action Action, a Address) error
}

// System is Trunkline itself, for what it tells of its own accord.
type System struct{}

// Check returns nil: who has this caller decides for nobody else.
func (System) Check(Action, Address) error { return nil }

// Door decides what may be published. It may be used concurrently.
type Door struct{}

// Admit returns the publication as a store takes it, or why the caller may not publish it.
func (d Door) Admit(_ context.Context, who Caller, p Publication) (Admitted, error) {
	if err := who.Check(Publish, p.Message.To); err != nil {
		return Admitted{}, err
	}
	return Admitted{&p}, nil
}

// AdmitState returns the change as a store takes it, or why the caller may not make it.
func (d Door) AdmitState(ctx context.Context, who Caller, c StateChange) (AdmittedState, error) {
	in, err := d.Admit(ctx, who, c.Publication)
	if err != nil {
		return AdmittedState{}, err
	}
	c.Publication = in.Publication()
	return AdmittedState{&c}, nil
}
