package door

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Do makes a call over REST. The path begins with /v1. Req may be nil, and so may resp.
func (s *Server) Do(ctx context.Context, credential, method, path string, req, resp proto.Message) error {
	content := []byte("{}")
	if req != nil {
		var err error
		if content, err = protojson.Marshal(req); err != nil {
			return err
		}
	}
	answer, err := s.ask(ctx, credential, method, path, content)
	if err != nil || resp == nil {
		return err
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(answer, resp)
}

// ask sends a request and returns the answer to it.
func (s *Server) ask(ctx context.Context, credential, method, path string, content []byte) ([]byte, error) {
	var reader io.Reader
	if method != http.MethodGet && method != http.MethodDelete {
		reader = bytes.NewReader(content)
	}
	req, err := s.request(ctx, credential, method, path, reader)
	if err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.base.Host, unwrapped(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", s.base.Host, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, ofREST(resp.StatusCode, resp.Header, answer)
	}
	return answer, nil
}

func (s *Server) request(ctx context.Context, credential, method, path string, content io.Reader) (*http.Request, error) {
	at := *s.base
	at.Path += path
	req, err := http.NewRequestWithContext(ctx, method, at.String(), content)
	if err != nil {
		return nil, err
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// unwrapped leaves the URL out of an error of the HTTP client.
func unwrapped(err error) error {
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // the client's own, as it returns it
		return e.Err
	}
	return err
}

// publication is what is published, in JSON.
type publication struct {
	To             string `json:"to,omitempty"`
	Data           string `json:"data"`
	ContentType    string `json:"contentType"`
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
	Ack            *terms `json:"ack,omitempty"`
}

type terms struct {
	Timeout string `json:"timeout,omitempty"`
}

func written(p Publication) *publication {
	w := &publication{To: p.To, Data: p.Data, ContentType: "CONTENT_TYPE_TEXT", IdempotencyKey: p.Key}
	if p.AckWithin > 0 {
		w.Ack = &terms{Timeout: strconv.FormatFloat(p.AckWithin.Seconds(), 'f', -1, 64) + "s"}
	}
	return w
}

// published is the answer, in JSON.
type published struct {
	ID          string
	Position    *position
	Duplicate   bool
	PublishTime time.Time
}

func (p *published) answer() Answer {
	return Answer{ID: p.ID, Position: p.Position.judge(), Duplicate: p.Duplicate, At: p.PublishTime}
}

// PublishREST publishes over REST.
func (s *Server) PublishREST(ctx context.Context, credential string, p Publication) (Answer, error) {
	w := written(p)
	w.To = "" // it is in the path
	content, err := json.Marshal(w)
	if err != nil {
		return Answer{}, err
	}
	b, err := s.ask(ctx, credential, http.MethodPost, "/v1/"+p.To+":publish", content)
	if err != nil {
		return Answer{}, err
	}
	var got published
	if err := json.Unmarshal(b, &got); err != nil {
		return Answer{}, fmt.Errorf("the answer to a publish is not JSON: %w", err)
	}
	return got.answer(), nil
}

// Inbox returns the ids of messages that wait for an ack.
func (s *Server) Inbox(ctx context.Context, credential, address string) ([]string, error) {
	b, err := s.ask(ctx, credential, http.MethodGet, "/v1/"+address+"/inbox", nil)
	if err != nil {
		return nil, err
	}
	var got struct{ Messages []struct{ ID string } }
	if err := json.Unmarshal(b, &got); err != nil {
		return nil, fmt.Errorf("the list of an inbox is not JSON: %w", err)
	}
	var ids []string
	for _, m := range got.Messages {
		ids = append(ids, m.ID)
	}
	return ids, nil
}
