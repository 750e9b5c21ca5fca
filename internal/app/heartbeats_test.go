package app_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	hooksv1 "github.com/trunkline/trunkline/gen/go/trunkline/hooks/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
	"github.com/trunkline/trunkline/internal/app/apptest"
	"github.com/trunkline/trunkline/internal/config"
	"github.com/trunkline/trunkline/internal/testkit"
)

// streamingMethods returns the methods of the contract that go on sending.
func streamingMethods() []string {
	var methods []string
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if m := service.Methods().Get(j); m.IsStreamingServer() && strings.HasPrefix(string(m.FullName()), "trunkline.") {
					methods = append(methods, "/"+string(service.FullName())+"/"+string(m.Name()))
				}
			}
		}
		return true
	})
	return methods
}

// receiving returns how to wait for the next message of a stream.
func receiving[T proto.Message](stream interface{ Recv() (T, error) }, err error) (func() (proto.Message, error), error) {
	return func() (proto.Message, error) { return stream.Recv() }, err
}

// Every stream says that it is alive while nothing happens, over gRPC and over REST.
func TestStreams_sayThatTheyAreAlive(t *testing.T) {
	h := apptest.Start(t, apptest.Setting(t, "hooks.events.enabled", "true"), apptest.With(func(c *config.Config) { c.Streams.Heartbeat = 200 * time.Millisecond }))
	sent, err := h.Publish.Publish(t.Context(), &publishv1.PublishRequest{To: "users/ada", Data: []byte("1"), Ack: &publishv1.AckPolicy{}})
	testkit.Check(t, err)
	open := map[string]func(context.Context) (func() (proto.Message, error), error){
		publishv1.PublishService_Consume_FullMethodName: func(ctx context.Context) (func() (proto.Message, error), error) {
			return receiving(h.Publish.Consume(ctx, &publishv1.ConsumeRequest{Address: "broadcast"}))
		},
		publishv1.PublishService_Subscribe_FullMethodName: func(ctx context.Context) (func() (proto.Message, error), error) {
			return receiving(h.Publish.Subscribe(ctx))
		},
		publishv1.PublishService_PublishStream_FullMethodName: func(ctx context.Context) (func() (proto.Message, error), error) {
			return receiving(h.Publish.PublishStream(ctx))
		},
		publishv1.PublishService_WatchReceipts_FullMethodName: func(ctx context.Context) (func() (proto.Message, error), error) {
			return receiving(h.Publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: sent.GetId()}))
		},
		hooksv1.EventService_WatchEvents_FullMethodName: func(ctx context.Context) (func() (proto.Message, error), error) {
			return receiving(hooksv1.NewEventServiceClient(apptest.Dial(t, h.GRPC, h.AdminKey)).WatchEvents(ctx, &hooksv1.WatchEventsRequest{}))
		},
	}
	for _, method := range streamingMethods() {
		t.Run(method, func(t *testing.T) {
			if open[method] == nil {
				t.Fatal("nobody has tried whether it says so")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			next, err := open[method](ctx)
			testkit.Check(t, err)
			for beats := 0; beats < 2; {
				m, err := next()
				testkit.Check(t, err)
				r := m.ProtoReflect()
				if f := r.Descriptor().Fields().ByName("heartbeat"); f != nil && r.Has(f) {
					beats++
				}
			}
		})
	}
	for _, path := range []string{"broadcast/stream", "users/ada/receipts/" + sent.GetId() + "/stream", "events"} {
		for accept, beat := range map[string]string{"application/x-ndjson": `"heartbeat":{`, "text/event-stream": "heartbeat"} {
			t.Run(path+" as "+accept, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.HTTP+"/v1/"+path, nil)
				testkit.Check(t, err)
				req.Header.Set("Authorization", "Bearer "+h.AdminKey)
				req.Header.Set("Accept", accept)
				resp, err := http.DefaultClient.Do(req)
				testkit.Check(t, err)
				defer func() { _ = resp.Body.Close() }()
				lines := bufio.NewReader(resp.Body)
				for beats := 0; beats < 2; {
					line, err := lines.ReadString('\n')
					testkit.Check(t, err)
					if strings.Contains(line, beat) {
						beats++
					}
				}
			})
		}
	}
}
