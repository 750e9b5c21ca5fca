package pushserver

import (
	"context"
	"encoding/json"
	"strings"

	legacyv1 "github.com/trunkline/trunkline/gen/go/trunkline/legacy/v1"
)

// pushMessage is a SERVER_ACTION: {"messageType":"SERVER_ACTION","action":A,"data":{…}}.
type pushMessage struct {
	channel    string
	token      *string
	recipients []string
	message    string
}

// pushAction is what one path does.
type pushAction struct {
	path, name string
	// fields reads what the data has besides the channel; false when it is not as it must be.
	fields func(data map[string]json.RawMessage, m *pushMessage) bool
	call   func(ctx context.Context, c legacyv1.PushServerServiceClient, m *pushMessage) (*pushAnswer, error)
}

var pushActions = []*pushAction{
	{path: "/channel/create", name: "CREATE_CHANNEL", fields: pushOptionalToken, call: pushCreate},
	{path: "/channel/ping", name: "PING_CHANNEL", fields: pushToken, call: pushPing},
	{path: "/channel/delete", name: "DELETE_CHANNEL", fields: pushToken, call: pushDelete},
	{path: "/push", name: "PUSH_MESSAGE", fields: pushFields, call: pushPush},
}

// pushActionOf returns what a path does; nil for nothing.
func pushActionOf(path string) *pushAction {
	for _, a := range pushActions {
		if strings.HasPrefix(path, a.path) {
			return a
		}
	}
	return nil
}

// read reads the message of the action. Keys are as written, and extra ones are allowed everywhere.
func (a *pushAction) read(body []byte) (*pushMessage, bool) {
	var o, data map[string]json.RawMessage
	if json.Unmarshal(body, &o) != nil || json.Unmarshal(o["data"], &data) != nil {
		return nil, false
	}
	kind, name, m := jsonText(o["messageType"]), jsonText(o["action"]), &pushMessage{}
	channel := jsonText(data["channel"])
	if kind == nil || *kind != "SERVER_ACTION" || name == nil || *name != a.name || channel == nil || !a.fields(data, m) {
		return nil, false
	}
	m.channel = *channel
	return m, true
}

// jsonText returns a JSON string's value; nil for anything else.
func jsonText(raw json.RawMessage) *string {
	var s *string
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	return s
}

// pushToken reads a token that may be null.
func pushToken(data map[string]json.RawMessage, m *pushMessage) bool {
	m.token = jsonText(data["channelToken"])
	return m.token != nil || string(data["channelToken"]) == "null"
}

// pushOptionalToken reads a token that may be missing too; it is ignored.
func pushOptionalToken(data map[string]json.RawMessage, m *pushMessage) bool {
	_, given := data["channelToken"]
	return !given || pushToken(data, m)
}

// pushFields reads what a push needs: all of it.
func pushFields(data map[string]json.RawMessage, m *pushMessage) bool {
	m.token = jsonText(data["channelToken"])
	text := jsonText(data["message"])
	var list []*string
	if m.token == nil || text == nil || json.Unmarshal(data["recipients"], &list) != nil || list == nil {
		return false
	}
	for _, r := range list {
		if r == nil || !uuidForm.MatchString(*r) {
			return false
		}
		m.recipients = append(m.recipients, *r)
	}
	m.message = *text
	return true
}

func pushCreate(ctx context.Context, c legacyv1.PushServerServiceClient, m *pushMessage) (*pushAnswer, error) {
	resp, err := c.CreatePushChannel(ctx, &legacyv1.CreatePushChannelRequest{Channel: m.channel})
	if err != nil {
		return nil, err
	}
	return pushAck("Created", m.channel, &resp.ChannelToken), nil
}

func pushPing(ctx context.Context, c legacyv1.PushServerServiceClient, m *pushMessage) (*pushAnswer, error) {
	_, err := c.CheckPushChannel(ctx, &legacyv1.CheckPushChannelRequest{Channel: m.channel, ChannelToken: m.token})
	return pushAck("OK", m.channel, nil), err
}

func pushDelete(ctx context.Context, c legacyv1.PushServerServiceClient, m *pushMessage) (*pushAnswer, error) {
	req := &legacyv1.DeletePushChannelRequest{Channel: m.channel}
	if m.token != nil {
		req.ChannelToken = *m.token
	}
	_, err := c.DeletePushChannel(ctx, req)
	return pushAck("Deleted", m.channel, nil), err
}

func pushPush(ctx context.Context, c legacyv1.PushServerServiceClient, m *pushMessage) (*pushAnswer, error) {
	_, err := c.PushMessage(ctx, &legacyv1.PushMessageRequest{
		Channel: m.channel, ChannelToken: *m.token, Recipients: m.recipients, Message: m.message,
	})
	return pushAck("Sent", m.channel, nil), err
}
