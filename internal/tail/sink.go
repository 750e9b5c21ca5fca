package tail

import "github.com/trunkline/trunkline/internal/bus"

// Sink takes what the followed addresses bring. Calls for one address come one at a time and
// in order. A Sink must not block and must not call the Tail.
type Sink interface {
	// Deliver hands over the next message of an address.
	Deliver(m *bus.Message)
	// Gap says that messages are missing; the next Deliver of the address comes after them.
	Gap(g bus.Gap)
}

// Strayer is what a Sink may be besides: it hears of messages that came too late to be handed on. The address had been told a
// gap over them by then. So they are in no order, and may come more than once.
type Strayer interface {
	// Stray hands over such a message. It must not block.
	Stray(m *bus.Message)
}

// Interrupter is what a Sink may be besides: it hears when messages of followed addresses may have been missed. What a
// live address has missed it hears of in no other way.
type Interrupter interface {
	// Interrupted comes before the next Deliver of one of the addresses; nil means of all. It must not block.
	Interrupted(addresses []bus.Address)
}
