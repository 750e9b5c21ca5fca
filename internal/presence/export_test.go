package presence

// Length says how long the beats of an address with so many clients are.
var Length = length
