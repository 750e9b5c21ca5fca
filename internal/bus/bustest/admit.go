package bustest

import "github.com/trunkline/trunkline/internal/bus"

// Admit lets a publication in as it is: no caller is behind it.
func Admit(p bus.Publication) bus.Admitted { return bus.AdmitInTest(p) }

// AdmitAll lets publications in as they are.
func AdmitAll(ps ...bus.Publication) []bus.Admitted {
	all := make([]bus.Admitted, len(ps))
	for i, p := range ps {
		all[i] = Admit(p)
	}
	return all
}

// AdmitState lets a change in as it is.
func AdmitState(c bus.StateChange) bus.AdmittedState { return bus.AdmitStateInTest(c) }

// AdmitDeletion lets the removal of an address's state in.
func AdmitDeletion(a bus.Address) bus.AdmittedState {
	return AdmitState(bus.StateChange{Publication: bus.Publication{Message: bus.Message{To: a}}})
}
