// A back end in C++. Arguments: host:port of gRPC, API key.
#include <chrono>
#include <iostream>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "trunkline/auth/v1/auth_service.grpc.pb.h"
#include "trunkline/publish/v1/publish_service.grpc.pb.h"

using namespace trunkline::publish::v1;
namespace auth = trunkline::auth::v1;
namespace errors = trunkline::errors::v1;

std::shared_ptr<grpc::Channel> connect(const std::string& target) {
  grpc::ChannelArguments options;
  options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  options.SetServiceConfigJSON(R"({
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "trunkline.publish.v1.PublishService"}})");
  auto insecure = grpc::InsecureChannelCredentials();  // with TLS: grpc::SslCredentials({})
  auto channel = grpc::CreateCustomChannel(target, insecure, options);
  if (channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)))
    std::cout << "health: SERVING" << std::endl;
  return channel;
}

// Call is what each call has: who calls, and, with seconds above 0, its deadline.
struct Call : grpc::ClientContext {
  explicit Call(const std::string& credential, int seconds = 0) {
    AddMetadata("authorization", "Bearer " + credential);
    if (seconds > 0) set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  }
};

void check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error_message());
}

std::string token(auth::AuthService::Stub& service, const std::string& key) {
  auth::IssueTokenRequest request;
  auth::IssueTokenResponse answer;
  request.set_user("ada");
  request.set_client("phone");
  request.mutable_ttl()->set_seconds(3600);
  Call call(key, 5);
  check(service.IssueToken(&call, request, &answer));
  std::cout << "token: for ada" << std::endl;
  return answer.token();
}

std::string send(PublishService::Stub& service, const std::string& key) {
  PublishRequest request;
  PublishResponse answer;
  request.set_to("users/ada");
  request.set_data(R"({"text":"hello"})");
  request.mutable_ack()->mutable_timeout()->set_seconds(30);
  request.set_idempotency_key("order-7-paid");
  Call call(key, 5);
  call.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  check(service.Publish(&call, request, &answer));
  std::cout << "published: to users/ada" << std::endl;
  return answer.id();
}

void follow(PublishService::Stub& service, const std::string& token) {
  Call call(token);
  auto stream = service.Subscribe(&call);
  SubscribeRequest command;
  command.set_sequence(1);
  command.mutable_subscribe()->set_address("users/ada");
  command.mutable_subscribe()->set_from_beginning(true);  // what waits for an ack, and what comes
  stream->Write(command);
  for (SubscribeResponse answer; stream->Read(&answer);) {
    if (answer.has_message()) {
      std::cout << "message: " << answer.message().data() << std::endl;
      command.set_sequence(2);
      command.mutable_ack()->set_address(answer.message().to());
      command.mutable_ack()->add_ids(answer.message().id());
      stream->Write(command);
    } else if (answer.has_acked()) {
      std::cout << "acknowledged: " << answer.acked().acked() << std::endl;
      stream->WritesDone();
    } else if (answer.has_error()) {
      throw std::runtime_error(answer.error().message());
    }
  }
  check(stream->Finish());
}

void receipt(PublishService::Stub& service, const std::string& key, const std::string& id) {
  WatchReceiptsRequest request;
  WatchReceiptsResponse answer;
  request.set_address("users/ada");
  request.set_id(id);
  Call call(key);
  auto receipts = service.WatchReceipts(&call, request);
  while (receipts->Read(&answer)) continue;
  check(receipts->Finish());
  std::string state = DeliveryState_Name(answer.receipt().state());
  std::cout << "receipt: " << state.substr(std::string("DELIVERY_STATE_").size()) << std::endl;
}

void publishMany(PublishService::Stub& service, const std::string& key, const std::string& to) {
  Call call(key);
  auto stream = service.PublishStream(&call);
  int credits = 0, sent = 0, accepted = 0;
  for (PublishStreamResponse answer; stream->Read(&answer);) {
    for (const auto& r : answer.results()) accepted += r.result().has_ok();
    for (credits += answer.credits(); credits > 0 && sent < 100; --credits) {
      PublishStreamRequest request;
      request.set_sequence(++sent);
      request.mutable_publish()->set_to(to);
      request.mutable_publish()->set_data("{\"n\":" + std::to_string(sent) + "}");
      stream->Write(request);
      if (sent == 100) stream->WritesDone();
    }
  }
  check(stream->Finish());
  std::cout << "streamed: " << accepted << " of 100" << std::endl;
}

void consume(PublishService::Stub& service, const std::string& key, const std::string& address) {
  ConsumeRequest request;
  request.set_address(address);
  request.set_from_beginning(true);
  Call call(key, 3);
  auto events = service.Consume(&call, request);
  int read = 0;
  for (ConsumeResponse event; events->Read(&event);) read += event.has_message();
  if (events->Finish().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED)
    std::cout << "consumed: " << read << ", then DEADLINE_EXCEEDED" << std::endl;
}

void refused(PublishService::Stub& service, const std::string& key) {
  PublishRequest request;
  PublishResponse answer;
  request.set_to("channels/a b");
  Call call(key, 5);
  auto status = service.Publish(&call, request, &answer);
  errors::StatusDetails trailer;
  trailer.ParseFromString(status.error_details());
  errors::Error own;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  for (const auto& detail : trailer.details())
    detail.UnpackTo(&own) || detail.UnpackTo(&info) || detail.UnpackTo(&bad);
  if (status.error_code() == grpc::StatusCode::INVALID_ARGUMENT)
    std::cout << "refused: INVALID_ARGUMENT " << own.reason() << " " << own.field_violations(0).field() << std::endl;
  std::cout << "details: " << info.reason() << " " << bad.field_violations(0).field() << std::endl;
}

int main(int, char** arguments) {
  const std::string target = arguments[1], key = arguments[2];
  auto channel = connect(target);
  auth::AuthService::Stub tokens(channel);
  PublishService::Stub publish(channel);
  const auto user = token(tokens, key);
  const auto id = send(publish, key);
  follow(publish, user);
  receipt(publish, key, id);
  publishMany(publish, key, "channels/demo:cpp");
  consume(publish, key, "channels/demo:cpp");
  refused(publish, key);
}
