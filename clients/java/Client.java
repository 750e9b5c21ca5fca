// A back end in Java. Arguments: host:port of gRPC, API key.
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.MetadataUtils;
import io.trunkline.auth.v1.*;
import io.trunkline.errors.v1.StatusDetails;
import io.trunkline.publish.v1.*;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

public class Client {
  static ManagedChannel connect(String target) {
    ManagedChannel channel = NettyChannelBuilder.forTarget(target)
        .usePlaintext() // with TLS: useTransportSecurity()
        .keepAliveTime(30, TimeUnit.SECONDS)
        .build();
    var request = HealthCheckRequest.newBuilder().setService("trunkline.publish.v1.PublishService").build();
    var answer = HealthGrpc.newBlockingStub(channel).withDeadlineAfter(5, TimeUnit.SECONDS).check(request);
    System.out.println("health: " + answer.getStatus());
    return channel;
  }

  static ClientInterceptor bearer(String credential) {
    var headers = new Metadata();
    headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + credential);
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  static String token(AuthServiceGrpc.AuthServiceBlockingStub auth) {
    var hour = Duration.newBuilder().setSeconds(3600);
    var request = IssueTokenRequest.newBuilder().setUser("ada").setClient("phone").setTtl(hour).build();
    var answer = auth.withDeadlineAfter(5, TimeUnit.SECONDS).issueToken(request);
    System.out.println("token: for ada");
    return answer.getToken();
  }

  static String send(PublishServiceGrpc.PublishServiceBlockingStub publish) {
    var request = PublishRequest.newBuilder()
        .setTo("users/ada")
        .setData(ByteString.copyFromUtf8("{\"text\":\"hello\"}"))
        .setAck(AckPolicy.newBuilder().setTimeout(Duration.newBuilder().setSeconds(30)))
        .setIdempotencyKey("order-7-paid")
        .build();
    var answer = publish.withDeadlineAfter(5, TimeUnit.SECONDS).withCompression("gzip").publish(request);
    System.out.println("published: to users/ada");
    return answer.getId();
  }

  // Stream is a call with streams in both directions: requests is what is sent, and done ends with the call.
  abstract static class Stream<Q, A> implements ClientResponseObserver<Q, A> {
    ClientCallStreamObserver<Q> requests;
    final CompletableFuture<Void> done = new CompletableFuture<>();

    public void beforeStart(ClientCallStreamObserver<Q> requests) { this.requests = requests; }
    public void onError(Throwable t) { done.completeExceptionally(t); }
    public void onCompleted() { done.complete(null); }
  }

  static void follow(PublishServiceGrpc.PublishServiceStub publish) throws Exception {
    var stream = new Stream<SubscribeRequest, SubscribeResponse>() {
      public void onNext(SubscribeResponse answer) {
        if (answer.hasMessage()) {
          System.out.println("message: " + answer.getMessage().getData().toStringUtf8());
          var ack = AckMessagesRequest.newBuilder()
              .setAddress(answer.getMessage().getTo()).addIds(answer.getMessage().getId());
          requests.onNext(SubscribeRequest.newBuilder().setSequence(2).setAck(ack).build());
        } else if (answer.hasAcked()) {
          System.out.println("acknowledged: " + answer.getAcked().getAcked());
          requests.onCompleted();
        } else if (answer.hasError()) {
          requests.cancel(answer.getError().getMessage(), null);
        }
      }
    };
    publish.subscribe(stream);
    // setFromBeginning: what waits for an ack, and what comes
    var subscribe = ConsumeRequest.newBuilder().setAddress("users/ada").setFromBeginning(true);
    stream.requests.onNext(SubscribeRequest.newBuilder().setSequence(1).setSubscribe(subscribe).build());
    stream.done.get(30, TimeUnit.SECONDS);
  }

  static void receipt(PublishServiceGrpc.PublishServiceBlockingStub publish, String id) {
    var request = WatchReceiptsRequest.newBuilder().setAddress("users/ada").setId(id).build();
    var state = DeliveryState.DELIVERY_STATE_UNSPECIFIED;
    for (var answers = publish.watchReceipts(request); answers.hasNext();) {
      state = answers.next().getReceipt().getState();
    }
    System.out.println("receipt: " + state.name().substring("DELIVERY_STATE_".length()));
  }

  static void publishMany(PublishServiceGrpc.PublishServiceStub publish, String to) throws Exception {
    var stream = new Stream<PublishStreamRequest, PublishStreamResponse>() {
      int credits, sent, accepted;

      public void onNext(PublishStreamResponse answer) {
        accepted += answer.getResultsList().stream().filter(r -> r.getResult().hasOk()).count();
        for (credits += answer.getCredits(); credits > 0 && sent < 100; credits--) {
          var message = PublishRequest.newBuilder()
              .setTo(to).setData(ByteString.copyFromUtf8("{\"n\":" + ++sent + "}"));
          requests.onNext(PublishStreamRequest.newBuilder().setSequence(sent).setPublish(message).build());
          if (sent == 100) requests.onCompleted();
        }
      }
    };
    publish.publishStream(stream);
    stream.done.get(30, TimeUnit.SECONDS);
    System.out.println("streamed: " + stream.accepted + " of 100");
  }

  static void consume(PublishServiceGrpc.PublishServiceBlockingStub publish, String address) {
    var request = ConsumeRequest.newBuilder().setAddress(address).setFromBeginning(true).build();
    int read = 0;
    try {
      for (var events = publish.withDeadlineAfter(3, TimeUnit.SECONDS).consume(request); events.hasNext();) {
        if (events.next().hasMessage()) read++;
      }
    } catch (StatusRuntimeException e) {
      System.out.println("consumed: " + read + ", then " + e.getStatus().getCode());
    }
  }

  static void refused(PublishServiceGrpc.PublishServiceBlockingStub publish) throws Exception {
    try {
      publish.withDeadlineAfter(5, TimeUnit.SECONDS).publish(PublishRequest.newBuilder().setTo("channels/a b").build());
    } catch (StatusRuntimeException e) {
      var trailer = Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
      var details = StatusDetails.parseFrom(e.getTrailers().get(trailer));
      var own = find(details, io.trunkline.errors.v1.Error.class);
      var field = own.getFieldViolations(0).getField();
      System.out.println("refused: " + e.getStatus().getCode() + " " + own.getReason() + " " + field);
      var bad = find(details, BadRequest.class).getFieldViolations(0).getField();
      System.out.println("details: " + find(details, ErrorInfo.class).getReason() + " " + bad);
    }
  }

  static <M extends Message> M find(StatusDetails details, Class<M> kind) throws Exception {
    for (Any detail : details.getDetailsList()) {
      if (detail.is(kind)) return detail.unpack(kind);
    }
    throw new IllegalStateException("no " + kind);
  }

  public static void main(String[] arguments) throws Exception {
    var channel = connect(arguments[0]);
    var key = bearer(arguments[1]);
    var publish = PublishServiceGrpc.newBlockingStub(channel).withInterceptors(key);
    var token = token(AuthServiceGrpc.newBlockingStub(channel).withInterceptors(key));
    var id = send(publish);
    follow(PublishServiceGrpc.newStub(channel).withInterceptors(bearer(token)));
    receipt(publish, id);
    publishMany(PublishServiceGrpc.newStub(channel).withInterceptors(key), "channels/demo:java");
    consume(publish, "channels/demo:java");
    refused(publish);
    channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
  }
}
