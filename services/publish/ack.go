package publish

import (
	"time"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/bus"
)

// The limits of an ack policy, as the contract says them.
const (
	minAckTimeout = 100 * time.Millisecond
	maxAckTimeout = time.Hour
	minKeep       = time.Second
	maxKeep       = 30 * 24 * time.Hour
	maxDeliveries = 1000
)

// checkAck reads the ack policy, but for its times.
func (s *Server) checkAck(bad *bus.Invalid, to bus.Address, req *publishv1.PublishRequest) *bus.AckTerms {
	policy := req.GetAck()
	if policy == nil {
		return nil
	}
	if !to.IsZero() && !to.HasInbox() {
		bad.Add("ack", "only with a client, a user or a session; channels, groups and broadcast keep history instead")
	}
	if req.GetExcludeSender() {
		bad.Add("exclude_sender", "not together with ack")
	}
	terms := &bus.AckTerms{Scope: bus.AnyDevice, Limit: s.inbox.Limit}
	switch policy.GetScope() {
	case publishv1.AckScope_ACK_SCOPE_UNSPECIFIED, publishv1.AckScope_ACK_SCOPE_ANY_DEVICE:
	case publishv1.AckScope_ACK_SCOPE_EACH_DEVICE:
		terms.Scope = bus.EachDevice
	default:
		bad.Add("ack.scope", "is not one of ACK_SCOPE_ANY_DEVICE, ACK_SCOPE_EACH_DEVICE")
	}
	if t := policy.GetTimeout(); t != nil {
		if d := t.AsDuration(); !t.IsValid() || d < minAckTimeout || d > maxAckTimeout {
			bad.Add("ack.timeout", "is %s, allowed are %s to %s", d, minAckTimeout, maxAckTimeout)
		}
	}
	if t := policy.GetKeep(); t != nil {
		if d := t.AsDuration(); !t.IsValid() || d < minKeep || d > maxKeep {
			bad.Add("ack.keep", "is %s, allowed are %s to %s", d, minKeep, maxKeep)
		}
	}
	if key := policy.GetCollapseKey(); key != "" && (len(key) > maxKey || !visible(key)) {
		bad.Add("ack.collapse_key", "must be 1 to %d visible ASCII characters", maxKey)
	}
	terms.CollapseKey = policy.GetCollapseKey()
	checkDeadLetter(bad, policy, terms)
	return terms
}

func checkDeadLetter(bad *bus.Invalid, policy *publishv1.AckPolicy, terms *bus.AckTerms) {
	n, name := policy.GetMaxDeliveries(), policy.GetDeadLetter()
	switch {
	case n == 0 && name == "":
		return
	case n == 0:
		bad.Add("ack.max_deliveries", "is needed with dead_letter")
	case n > maxDeliveries:
		bad.Add("ack.max_deliveries", "is %d, the limit is %d", n, maxDeliveries)
	}
	if name == "" {
		bad.Add("ack.dead_letter", "is needed with max_deliveries: the channel that gets what nobody acknowledged")
		return
	}
	a := bad.Address("ack.dead_letter", name)
	if !a.IsZero() && a.Kind() != bus.KindChannels {
		bad.Add("ack.dead_letter", "is not a channel")
	}
	terms.MaxDeliveries, terms.DeadLetter = int(n), a
}

// schedule sets the times of an ack policy.
func (s *Server) schedule(p *bus.Publication, req *publishv1.PublishRequest) {
	if p.Ack == nil {
		return
	}
	pick := func(d interface{ AsDuration() time.Duration }, set bool, standard time.Duration) time.Duration {
		if set {
			return d.AsDuration()
		}
		return standard
	}
	policy := req.GetAck()
	p.Message.Ack = p.Ack.Scope
	p.Ack.Timeout = pick(policy.GetTimeout(), policy.GetTimeout() != nil, s.inbox.AckTimeout)
	p.Ack.Keep = pick(policy.GetKeep(), policy.GetKeep() != nil, s.inbox.Keep)
	if p.TTL > 0 {
		p.Ack.Keep = min(p.Ack.Keep, p.TTL)
	}
	p.Retention = bus.Retention{}
}
