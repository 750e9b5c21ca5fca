package rpc

// Redial is how often a role that is away is dialled.
var Redial = redial
