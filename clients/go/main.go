// Command client is a back end in Go that uses the generated code. Arguments: host:port of gRPC, API key.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "github.com/trunkline/trunkline/gen/go/trunkline/auth/v1"
	errorsv1 "github.com/trunkline/trunkline/gen/go/trunkline/errors/v1"
	publishv1 "github.com/trunkline/trunkline/gen/go/trunkline/publish/v1"
)

func connect(ctx context.Context, target string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // with TLS: credentials.NewTLS(nil)
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: publishv1.PublishService_ServiceDesc.ServiceName,
	})
	fmt.Println("health:", answer.GetStatus())
	return conn, err
}

func bearer(ctx context.Context, credential string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+credential)
}

func token(ctx context.Context, auth authv1.AuthServiceClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := auth.IssueToken(ctx, &authv1.IssueTokenRequest{User: "ada", Client: "phone", Ttl: durationpb.New(time.Hour)})
	fmt.Println("token: for ada")
	return answer.GetToken(), err
}

func send(ctx context.Context, publish publishv1.PublishServiceClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := publish.Publish(ctx, &publishv1.PublishRequest{
		To:             "users/ada",
		Data:           []byte(`{"text":"hello"}`),
		Ack:            &publishv1.AckPolicy{Timeout: durationpb.New(30 * time.Second)},
		IdempotencyKey: "order-7-paid",
	}, grpc.UseCompressor(gzip.Name))
	fmt.Println("published: to users/ada")
	return answer.GetId(), err
}

func follow(ctx context.Context, publish publishv1.PublishServiceClient) error {
	stream, err := publish.Subscribe(ctx)
	if err != nil {
		return err
	}
	// FromBeginning: what waits for an ack, and what comes
	from := &publishv1.ConsumeRequest{Address: "users/ada", FromBeginning: true}
	err = stream.Send(&publishv1.SubscribeRequest{Sequence: 1, Command: &publishv1.SubscribeRequest_Subscribe{Subscribe: from}})
	for err == nil {
		var answer *publishv1.SubscribeResponse
		if answer, err = stream.Recv(); err != nil {
			break
		}
		switch {
		case answer.GetMessage() != nil:
			m := answer.GetMessage()
			fmt.Printf("message: %s\n", m.GetData())
			ack := &publishv1.AckMessagesRequest{Address: m.GetTo(), Ids: []string{m.GetId()}}
			err = stream.Send(&publishv1.SubscribeRequest{Sequence: 2, Command: &publishv1.SubscribeRequest_Ack{Ack: ack}})
		case answer.GetAcked() != nil:
			fmt.Println("acknowledged:", answer.GetAcked().GetAcked())
			err = stream.CloseSend()
		case answer.GetError() != nil:
			return errors.New(answer.GetError().GetMessage())
		}
	}
	return ended(err)
}

// ended returns nil for a stream that ended well.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func receipt(ctx context.Context, publish publishv1.PublishServiceClient, id string) error {
	receipts, err := publish.WatchReceipts(ctx, &publishv1.WatchReceiptsRequest{Address: "users/ada", Id: id})
	if err != nil {
		return err
	}
	for last := ""; ; {
		answer, err := receipts.Recv()
		if err != nil {
			fmt.Println("receipt:", strings.TrimPrefix(last, "DELIVERY_STATE_"))
			return ended(err)
		}
		last = answer.GetReceipt().GetState().String()
	}
}

func stream(ctx context.Context, publish publishv1.PublishServiceClient, to string) error {
	messages, err := publish.PublishStream(ctx)
	credits, sent, accepted := uint32(0), 0, 0
	for err == nil {
		var answer *publishv1.PublishStreamResponse
		if answer, err = messages.Recv(); err != nil {
			break
		}
		for _, r := range answer.GetResults() {
			if r.GetResult().GetOk() != nil {
				accepted++
			}
		}
		for credits += answer.GetCredits(); err == nil && credits > 0 && sent < 100; credits-- {
			sent++
			message := &publishv1.PublishRequest{To: to, Data: fmt.Appendf(nil, `{"n":%d}`, sent)}
			err = messages.Send(&publishv1.PublishStreamRequest{Sequence: uint64(sent), Publish: message})
		}
		if err == nil && sent == 100 {
			err = messages.CloseSend()
		}
	}
	fmt.Println("streamed:", accepted, "of 100")
	return ended(err)
}

func consume(ctx context.Context, publish publishv1.PublishServiceClient, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	events, err := publish.Consume(ctx, &publishv1.ConsumeRequest{Address: address, FromBeginning: true})
	if err != nil {
		return err
	}
	for read := 0; ; {
		event, err := events.Recv()
		if err != nil {
			fmt.Printf("consumed: %d, then %s\n", read, status.Code(err))
			return nil
		}
		if event.GetMessage() != nil {
			read++
		}
	}
}

func refused(ctx context.Context, publish publishv1.PublishServiceClient) {
	_, err := publish.Publish(ctx, &publishv1.PublishRequest{To: "channels/a b"})
	var reason, field string
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *errorsv1.Error:
			fmt.Println("refused:", status.Code(err), d.GetReason(), d.GetFieldViolations()[0].GetField())
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.BadRequest:
			field = d.GetFieldViolations()[0].GetField()
		}
	}
	fmt.Println("details:", reason, field)
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, target, key string) error {
	conn, err := connect(ctx, target)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	publish := publishv1.NewPublishServiceClient(conn)
	withKey := bearer(ctx, key)
	user, err := token(withKey, authv1.NewAuthServiceClient(conn))
	if err != nil {
		return err
	}
	id, err := send(withKey, publish)
	if err != nil {
		return err
	}
	err = errors.Join(
		follow(bearer(ctx, user), publish),
		receipt(withKey, publish, id),
		stream(withKey, publish, "channels/demo:go"),
		consume(withKey, publish, "channels/demo:go"),
	)
	refused(withKey, publish)
	return err
}
