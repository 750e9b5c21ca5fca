package rows

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/faults/workload"
	"github.com/trunkline/trunkline/internal/judge"
)

// rights are faults while rights end.
func rights() []Row {
	return []Row{
		{
			ID: "F7e", Fault: "tokens end while an edge stands still", How: "SIGSTOP of the edge before the end, SIGCONT after it", Promises: "P13", Quick: true,
			Inject: expiring,
		},
		{
			ID: "F38", Fault: "many tokens are revoked", How: "60 sessions on both edges, every second one is revoked", Promises: "P14", Quick: true,
			Inject: revoked,
		},
		{
			ID: "F38c", Fault: "a token is revoked while its edge is cut off", How: "nothing passes between the edge and Redis for 4 s", Promises: "P14", System: behind,
			Inject: missedRevocation,
		},
	}
}

// expiring lets tokens end while their edge stands still.
func expiring(ctx context.Context, r *Run) error {
	for i := range r.times(3) {
		var all []*workload.Guest
		for k := range 4 {
			g, err := r.Load.Guest(ctx, fmt.Sprintf("brief%d-%d", i, k), 0, 3*time.Second)
			if err != nil {
				return err
			}
			g.Ends("its token has ended", g.Opened.Add(3*time.Second), 50*time.Millisecond)
			all = append(all, g)
		}
		if err := r.Wait(ctx, time.Second); err != nil {
			return err
		}
		if err := r.Sys.Part("edge1").Stop(ctx, 5*time.Second); err != nil {
			return err
		}
		went := time.Now()
		for _, g := range all {
			at, err := g.Closed(ctx)
			if err != nil {
				return err
			}
			r.Took("goes on, to closed", at.Sub(went), judge.TokenEnd)
		}
	}
	return nil
}

// revoked revokes some of many.
func revoked(ctx context.Context, r *Run) error {
	var all []*workload.Guest
	for i := range 60 {
		g, err := r.Load.Guest(ctx, fmt.Sprintf("guest%d", i), i%2, 0)
		if err != nil {
			return err
		}
		all = append(all, g)
	}
	for i, g := range all {
		if i%4 > 1 {
			continue
		}
		if err := r.Load.Revoke(ctx, g.Token); err != nil {
			return err
		}
		g.Ends("it was revoked", time.Now(), judge.Revocation.Most)
	}
	if err := r.Wait(ctx, 3*time.Second); err != nil {
		return err
	}
	for i, g := range all {
		at, ended := g.Ended()
		if i%4 > 1 {
			r.most("others that were closed", float64(one(ended)), 0, "")
			g.Close()
			continue
		}
		r.most("revoked sessions that are open", float64(one(!ended)), 0, "")
		if ended {
			r.Took("revoked, to closed", at.Sub(g.End), judge.Revocation)
		} else {
			g.Close()
		}
	}
	return nil
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// missedRevocation revokes a token of an edge that cannot hear of it.
func missedRevocation(ctx context.Context, r *Run) error {
	g, err := r.Load.Guest(ctx, "cut", 0, 0)
	if err != nil {
		return err
	}
	r.rules(silent, "edge1")
	if err := r.Wait(ctx, time.Second); err != nil {
		return err
	}
	if err := r.Load.Revoke(ctx, g.Token); err != nil {
		return err
	}
	if err := r.Wait(ctx, 3*time.Second); err != nil {
		return err
	}
	healed := time.Now()
	g.Ends("it was revoked", healed, judge.RevocationMissed.Most)
	r.rules(quiet, "edge1")
	at, err := g.Closed(ctx)
	if err != nil {
		return err
	}
	r.Took("healed, to closed", at.Sub(healed), judge.RevocationMissed)
	return nil
}
