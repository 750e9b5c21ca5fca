package events

// CheckPublic is checkPublic, for a table of addresses that no test can dial.
var CheckPublic = checkPublic
