package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/judge"
)

// door is one way to publish.
type door interface {
	publish(ctx context.Context, m message) (answer, error)
}

// answer is what a publish was answered.
type answer struct {
	at     judge.Position
	repeat bool
}

// refusal is a final error.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// patience is how long a publish is repeated.
const patience = 40 * time.Second

// publish starts the publishers: half over gRPC, and one of four each over a stream, REST and WebSocket.
func (l *Load) publish(ctx context.Context) {
	const publishers = 8
	client := publishv1.NewPublishServiceClient(l.conn)
	for i := range publishers {
		who := fmt.Sprintf("p%d", i)
		var d door
		switch i % 4 {
		case 0:
			d = &rest{l: l, client: &http.Client{Transport: &http.Transport{}}} // so each keeps its connection
		case 1:
			d = newSocket(l, who)
		case 2:
			d = newStream(l, client)
		default:
			d = &unary{l: l, client: client}
		}
		l.publishers.Go(func() { l.run(ctx, who, d, l.o.Rate/publishers, false) })
	}
	if l.o.Users > 0 && l.o.InboxRate > 0 {
		for i := range 2 {
			l.publishers.Go(func() { l.run(ctx, fmt.Sprintf("i%d", i), &unary{l: l, client: client}, l.o.InboxRate/2, true) })
		}
	}
}

// run publishes at a rate, one after the other.
func (l *Load) run(ctx context.Context, who string, d door, rate int, inbox bool) {
	if c, ok := d.(io.Closer); ok {
		defer func() { _ = c.Close() }()
	}
	random := l.random(who)
	tick := time.NewTicker(time.Second / time.Duration(max(rate, 1)))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		to := Channel(random.IntN(l.o.Channels))
		if inbox {
			to = user(random.IntN(l.o.Users))
		}
		l.send(context.WithoutCancel(ctx), who, d, fill(random, fmt.Sprintf("%s-%d", who, n), to, l.o.Payload, inbox, l.o.Big && !inbox))
	}
}

// send publishes a message, again and again while its outcome is not known, and writes down what becomes of it.
func (l *Load) send(ctx context.Context, who string, d door, m message) {
	e := judge.Event{Kind: judge.Sent, Who: who, Address: m.to, Key: m.key, Digest: digest(m.text), Inbox: m.ack}
	l.rec.Add(e)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for try := 0; ; try++ {
		began := time.Now()
		call, done := context.WithTimeout(ctx, 2*time.Second)
		var a answer
		a, err = d.publish(call, m)
		done()
		if err == nil {
			l.rec.Add(judge.Event{Kind: judge.Answered, Who: who, Address: m.to, Key: m.key, Position: a.at, Repeat: a.repeat})
			l.oks.Add(1)
			if began := began.UnixMilli(); began > l.lastOK.Load() {
				l.lastOK.Store(began)
			}
			return
		}
		if final, ok := errors.AsType[*refusal](err); ok {
			l.rec.Add(judge.Event{Kind: judge.Refused, Who: who, Address: m.to, Key: m.key, Reason: final.reason})
			return
		}
		pause := time.NewTimer(time.Duration(50*min(try+1, 4)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			l.rec.Add(judge.Event{Kind: judge.Unknown, Who: who, Address: m.to, Key: m.key, Reason: err.Error()})
			return
		}
	}
}

func (l *Load) request(m message) *publishv1.PublishRequest {
	r := &publishv1.PublishRequest{
		To: m.to, Data: []byte(m.text), ContentType: publishv1.ContentType_CONTENT_TYPE_TEXT, IdempotencyKey: m.key,
		Durability: l.o.Durability, Replicas: l.o.Replicas,
	}
	if m.ack {
		r.Ack = &publishv1.AckPolicy{}
	}
	return r
}

func answered(r *publishv1.PublishResponse) answer {
	return answer{judge.Position{Epoch: r.GetPosition().GetEpoch(), Seq: r.GetPosition().GetOffset()}, r.GetDuplicate()}
}

// unary publishes by single calls.
type unary struct {
	l      *Load
	client publishv1.PublishServiceClient
}

func (u *unary) publish(ctx context.Context, m message) (answer, error) {
	resp, err := u.client.Publish(u.l.as(ctx), u.l.request(m))
	if err != nil {
		return answer{}, judged(err)
	}
	return answered(resp), nil
}

// judged tells a final error of gRPC from one that may be tried again.
func judged(err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Unknown:
		return err
	}
	reason := s.Code().String()
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.RetryInfo:
			return err
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		}
	}
	return &refusal{reason}
}

// rest publishes through the gateway.
type rest struct {
	l      *Load
	client *http.Client
}

func (r *rest) publish(ctx context.Context, m message) (answer, error) {
	body := map[string]any{"data": m.text, "contentType": "CONTENT_TYPE_TEXT", "idempotencyKey": m.key}
	if r.l.o.Durability != 0 {
		body["durability"] = r.l.o.Durability.String()
		body["replicas"] = r.l.o.Replicas
	}
	b, err := json.Marshal(body)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.l.sys.Gateway+"/v1/"+m.to+":publish", bytes.NewReader(b))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+r.l.sys.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, syscall.ECONNREFUSED) {
			r.l.unanswered.Add(1)
		}
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err = io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return answer{}, restRefusal(resp, b)
	}
	var got struct {
		Position  position
		Duplicate bool
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return answer{}, fmt.Errorf("read %q: %w", b, err)
	}
	return answer{got.Position.judge(), got.Duplicate}, nil
}

// restRefusal tells a final answer from one that may be tried again.
func restRefusal(resp *http.Response, body []byte) error {
	err := fmt.Errorf("%s: %.300s", resp.Status, body)
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "" {
		return err
	}
	return &refusal{err.Error()}
}
