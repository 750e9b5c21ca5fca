package verify

import (
	"slices"
	"time"
)

// Word is what is said of a promise, and of a run.
type Word string

// The words. Only Held is good news.
const (
	// Held says that it was checked and kept.
	Held Word = "held"
	// Broken says that it was not kept.
	Broken Word = "broken"
	// Unknown says that the run could not tell: the server did not answer, or there was too little time.
	Unknown Word = "unknown"
	// Skipped says that it was not checked, and why. That is not Held.
	Skipped Word = "skipped"
	// Partly is said of a run in which everything that was checked was held, and something was skipped.
	Partly Word = "partly"
)

// Schema is the version of the form that Report has in JSON. Members may be added to it; none changes its meaning or leaves.
const Schema = 1

// Report is what a run has shown.
type Report struct {
	Schema  int    `json:"schema"`
	Verdict Word   `json:"verdict"`
	Server  string `json:"server"`
	// GRPC is host:port of gRPC; empty when it was not used.
	GRPC string `json:"grpc,omitempty"`
	// Run names everything that the run made.
	Run     string    `json:"run"`
	Begin   time.Time `json:"begin"`
	Seconds float64   `json:"seconds"`
	// Promises has one row for each, in the order of the documents.
	Promises []Promise `json:"promises"`
	Times    []Times   `json:"times"`
	Counts   Counts    `json:"counts"`
	// Doors are the ways to publish and to follow that were used, or why not.
	Doors []Door `json:"doors"`
	// Left is what the run made and could not remove.
	Left []string `json:"left"`
}

// Promise is one row of a report.
type Promise struct {
	ID      string `json:"id"`
	Says    string `json:"says"`
	Verdict Word   `json:"verdict"`
	// Checked is how often it was looked at.
	Checked int `json:"checked"`
	// Figure is the worst that was seen, and Bound what is promised. Both are in Unit.
	Figure float64 `json:"figure"`
	Bound  float64 `json:"bound"`
	Unit   string  `json:"unit"`
	// Reason says why it is skipped or unknown.
	Reason string `json:"reason,omitempty"`
	// Findings are the first few cases in which it was not kept.
	Findings []string `json:"findings"`
}

// Times are how long something took, in milliseconds.
type Times struct {
	Name  string  `json:"name"`
	Says  string  `json:"says"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Counts are how much was done.
type Counts struct {
	Published int `json:"published"`
	Answered  int `json:"answered"`
	Refused   int `json:"refused"`
	Unknown   int `json:"unknown"`
	Delivered int `json:"delivered"`
	Resumes   int `json:"resumes"`
	Gaps      int `json:"gaps"`
}

// Door is one way to publish or to follow.
type Door struct {
	Name string `json:"name"`
	Used bool   `json:"used"`
	// Reason says why it was not used.
	Reason string `json:"reason,omitempty"`
}

// conclude says what the rows amount to.
func conclude(rows []Promise) Word {
	said := func(w Word) bool { return slices.ContainsFunc(rows, func(p Promise) bool { return p.Verdict == w }) }
	switch {
	case said(Broken):
		return Broken
	case said(Unknown), !said(Held):
		return Unknown
	case said(Skipped):
		return Partly
	}
	return Held
}
