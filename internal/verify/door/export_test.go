package door

// EventOf reads an event of a stream, and OfREST a refusal.
var (
	EventOf = eventOf
	OfREST  = ofREST
)
