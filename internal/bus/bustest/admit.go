package bustest

import (
	"context"

	"github.com/trunkline/trunkline/internal/bus"
)

// Admit lets a publication in as it is, as the door does for what Trunkline itself tells.
func Admit(p bus.Publication) bus.Admitted {
	in, err := bus.Door{}.Admit(context.Background(), bus.System{}, p)
	if err != nil {
		panic(err) // the door refuses nothing of ours
	}
	return in
}

// AdmitAll lets publications in as they are.
func AdmitAll(ps ...bus.Publication) []bus.Admitted {
	all := make([]bus.Admitted, len(ps))
	for i, p := range ps {
		all[i] = Admit(p)
	}
	return all
}

// AdmitState lets a change in as it is.
func AdmitState(c bus.StateChange) bus.AdmittedState {
	in, err := bus.Door{}.AdmitState(context.Background(), bus.System{}, c)
	if err != nil {
		panic(err) // the door refuses nothing of ours
	}
	return in
}

// AdmitDeletion lets the removal of an address's state in.
func AdmitDeletion(a bus.Address) bus.AdmittedState {
	return AdmitState(bus.StateChange{Publication: bus.Publication{Message: bus.Message{To: a}}})
}
