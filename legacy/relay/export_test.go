package relay

// FormJSON returns a form as JSON.
var FormJSON = formJSON
