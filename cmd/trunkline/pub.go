package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

type pubFlags struct {
	attributes    map[string]string
	recipients    []string
	ttl           time.Duration
	retain        time.Duration
	key           string
	contentType   string
	eachLine      bool
	excludeSender bool
	count         int
	rate          float64
	ackFlags
}

func (p *program) pub() *cobra.Command {
	var f pubFlags
	cmd := &cobra.Command{
		Use:   "pub ADDRESS [DATA]",
		Short: "Publish a message",
		Long: `Publish a message to an address, such as users/42, broadcast or channels/orders:eu; a bare name is a channel.
DATA that is JSON is sent as JSON, other UTF-8 as text, the rest as binary, unless --content-type says.
Without DATA, or with -, it is read from standard input.`,
		Example: "  trunkline pub demo '{\"text\":\"hello\"}'\n  trunkline pub users/42 '{\"text\":\"hi\"}' --ack --wait\n  trunkline pub users/42 hi --ttl 1m\n  tail -f app.log | trunkline pub logs --each-line",
		Args:    cobra.RangeArgs(1, 2),
		RunE:    func(cmd *cobra.Command, args []string) error { return p.publish(cmd.Context(), f, args) },
	}
	fl := cmd.Flags()
	fl.StringToStringVar(&f.attributes, "attr", nil, "attribute key=value; again for more")
	fl.StringSliceVar(&f.recipients, "recipient", nil, "client that may have it, of a channel; again for more")
	fl.DurationVar(&f.ttl, "ttl", 0, "not delivered later than this")
	fl.DurationVar(&f.retain, "retain", -1, "keep it as the last message of the address for so long, 0 for not at all (as the server is configured)")
	fl.StringVar(&f.key, "key", "", "idempotency key; with several messages, -1, -2, … is added")
	fl.StringVar(&f.contentType, "content-type", "", "json, text or binary")
	fl.BoolVar(&f.eachLine, "each-line", false, "one message for each line of standard input")
	fl.BoolVar(&f.excludeSender, "exclude-sender", false, "the sender's own connections do not get it")
	f.add(fl)
	fl.IntVar(&f.count, "count", 1, "send it this many times")
	fl.Float64Var(&f.rate, "rate", 0, "messages per second; 0 for as fast as they are answered")
	return cmd
}

func (f pubFlags) check(args []string) error {
	switch {
	case f.count < 1:
		return fmt.Errorf("--count %d: at least 1", f.count)
	case f.rate < 0:
		return fmt.Errorf("--rate %g: not negative", f.rate)
	case f.eachLine && len(args) > 1 && args[1] != "-":
		return fmt.Errorf("--each-line reads standard input; leave DATA out")
	case f.eachLine && f.count > 1:
		return fmt.Errorf("--each-line and --count exclude each other")
	}
	if err := f.ackFlags.check(); err != nil {
		return err
	}
	_, err := contentType(f.contentType, nil)
	return err
}

// contentType reads --content-type, or looks at the data.
func contentType(s string, data []byte) (publishv1.ContentType, error) {
	switch s {
	case "json":
		return publishv1.ContentType_CONTENT_TYPE_JSON, nil
	case "text":
		return publishv1.ContentType_CONTENT_TYPE_TEXT, nil
	case "binary":
		return publishv1.ContentType_CONTENT_TYPE_BINARY, nil
	case "":
		switch {
		case json.Valid(data):
			return publishv1.ContentType_CONTENT_TYPE_JSON, nil
		case utf8.Valid(data):
			return publishv1.ContentType_CONTENT_TYPE_TEXT, nil
		}
		return publishv1.ContentType_CONTENT_TYPE_BINARY, nil
	}
	return 0, fmt.Errorf("--content-type %q: allowed are json, text and binary", s)
}

func (p *program) publish(ctx context.Context, f pubFlags, args []string) error {
	if err := f.check(args); err != nil {
		return usageError{err}
	}
	ctx, conn, done, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer done()
	service := publishv1.NewPublishServiceClient(conn)
	var tick <-chan time.Time
	if f.rate > 0 {
		t := time.NewTicker(time.Duration(float64(time.Second) / f.rate))
		defer t.Stop()
		tick = t.C
	}
	sent, refused := 0, 0
	for data, err := range p.payloads(f, args) {
		if err != nil {
			return err
		}
		if sent > 0 && tick != nil {
			select {
			case <-tick:
			case <-ctx.Done():
				return errInterrupted
			}
		}
		sent++
		req, err := f.request(address(args[0]), data, sent)
		if err != nil {
			return usageError{err}
		}
		resp, err := service.Publish(ctx, req)
		if err != nil {
			if ctx.Err() != nil {
				return errInterrupted
			}
			if !f.eachLine {
				return p.remote(err)
			}
			refused++
			p.say("line %d: %v", sent, p.remote(err))
			continue
		}
		if err := p.published(resp); err != nil {
			return err
		}
		if f.wait {
			if err := p.await(ctx, service, req.GetTo(), resp.GetId()); err != nil {
				return err
			}
		}
	}
	if refused > 0 {
		return partly{refused: refused, all: sent}
	}
	return nil
}

// payloads returns the data of each message.
func (p *program) payloads(f pubFlags, args []string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if f.eachLine {
			lines := bufio.NewScanner(p.in)
			lines.Buffer(nil, 16<<20)
			for lines.Scan() {
				if line := bytes.TrimRight(lines.Bytes(), "\r"); len(line) > 0 && !yield(bytes.Clone(line), nil) {
					return
				}
			}
			if err := lines.Err(); err != nil {
				yield(nil, fmt.Errorf("read standard input: %w", err))
			}
			return
		}
		var data []byte
		if len(args) > 1 && args[1] != "-" {
			data = []byte(args[1])
		} else {
			var err error
			if data, err = io.ReadAll(io.LimitReader(p.in, 64<<20)); err != nil {
				yield(nil, fmt.Errorf("read standard input: %w", err))
				return
			}
			if data = bytes.TrimSuffix(data, []byte("\n")); len(data) == 0 && len(args) == 1 {
				yield(nil, usageError{errors.New("no DATA and nothing on standard input; write '' for an empty message")})
				return
			}
		}
		for range f.count {
			if !yield(data, nil) {
				return
			}
		}
	}
}

func (f pubFlags) request(to string, data []byte, n int) (*publishv1.PublishRequest, error) {
	kind, err := contentType(f.contentType, data)
	if err != nil {
		return nil, err
	}
	req := &publishv1.PublishRequest{
		To: to, Data: data, ContentType: kind, Attributes: f.attributes, Recipients: f.recipients,
		ExcludeSender: f.excludeSender, IdempotencyKey: f.key, Ack: f.policy(),
	}
	if f.key != "" && (f.eachLine || f.count > 1) {
		req.IdempotencyKey = fmt.Sprintf("%s-%d", f.key, n)
	}
	if f.ttl != 0 {
		req.Ttl = durationpb.New(f.ttl)
	}
	if f.retain >= 0 {
		req.Retain = durationpb.New(f.retain)
	}
	return req, nil
}

func (p *program) published(resp *publishv1.PublishResponse) error {
	if p.output != "table" {
		return p.writeJSON(resp)
	}
	at := "live, kept nowhere"
	if pos := resp.GetPosition(); pos != nil {
		at = fmt.Sprintf("#%d", pos.GetOffset())
	}
	durability := strings.ToLower(strings.TrimPrefix(resp.GetDurability().String(), "DURABILITY_"))
	if resp.GetDuplicate() {
		durability += ", sent before"
	}
	_, err := fmt.Fprintf(p.out, "%s  %s  %s\n", resp.GetId(), at, durability)
	return err
}
