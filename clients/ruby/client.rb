# A back end in Ruby. Arguments: host:port of gRPC, API key.
require "json"
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "grpc/health/v1/health_services_pb"
require "trunkline/auth/v1/auth_service_services_pb"
require "trunkline/errors/v1/error_pb"
require "trunkline/publish/v1/publish_service_services_pb"

include Trunkline::Publish::V1
Errors = Trunkline::Errors::V1
Auth = Trunkline::Auth::V1
Duration = Google::Protobuf::Duration

target, key = ARGV
options = {
  creds: :this_channel_is_insecure, # with TLS: GRPC::Core::ChannelCredentials.new
  channel_args: { "grpc.keepalive_time_ms" => 30_000 },
}
auth = Auth::AuthService::Stub.new(target, options[:creds], channel_args: options[:channel_args])
publish = PublishService::Stub.new(target, options[:creds], channel_args: options[:channel_args])
health = Grpc::Health::V1::Health::Stub.new(target, options[:creds])
with_key = { "authorization" => "Bearer #{key}" }

def within(seconds)
  Time.now + seconds
end

request = Grpc::Health::V1::HealthCheckRequest.new(service: "trunkline.publish.v1.PublishService")
puts "health: #{health.check(request, deadline: within(5)).status}"

request = Auth::IssueTokenRequest.new(user: "ada", client: "phone", ttl: Duration.new(seconds: 3600))
token = auth.issue_token(request, metadata: with_key, deadline: within(5)).token
puts "token: for ada"

gzip = GRPC::Core::CompressionOptions.new(default_algorithm: :gzip).to_channel_arg_hash
packed = PublishService::Stub.new(target, options[:creds], channel_args: options[:channel_args].merge(gzip))
request = PublishRequest.new(
  to: "users/ada",
  data: JSON.generate(text: "hello"),
  ack: AckPolicy.new(timeout: Duration.new(seconds: 30)),
  idempotency_key: "order-7-paid",
)
id = packed.publish(request, metadata: with_key, deadline: within(5)).id
puts "published: to users/ada"

commands = Queue.new
from = ConsumeRequest.new(address: "users/ada", from_beginning: true) # what waits for an ack, and what comes
commands << SubscribeRequest.new(sequence: 1, subscribe: from)
requests = Enumerator.new { |out| while (command = commands.pop) do out << command end }
publish.subscribe(requests, metadata: { "authorization" => "Bearer #{token}" }).each do |answer|
  case answer.event
  when :message
    puts "message: #{answer.message.data}"
    ack = AckMessagesRequest.new(address: answer.message.to, ids: [answer.message.id])
    commands << SubscribeRequest.new(sequence: 2, ack: ack)
  when :acked
    puts "acknowledged: #{answer.acked.acked}"
    commands.close # ends the stream
  when :error
    raise answer.error.message
  end
end

request = WatchReceiptsRequest.new(address: "users/ada", id: id)
last = publish.watch_receipts(request, metadata: with_key).to_a.last
puts "receipt: #{last.receipt.state.to_s.delete_prefix("DELIVERY_STATE_")}"

credits = Queue.new
messages = Enumerator.new do |out|
  (1..100).each do |n|
    credits.pop
    message = PublishRequest.new(to: "channels/demo:ruby", data: JSON.generate(n: n))
    out << PublishStreamRequest.new(sequence: n, publish: message)
  end
end
accepted = 0
publish.publish_stream(messages, metadata: with_key).each do |answer|
  accepted += answer.results.count { |r| r.result.outcome == :ok }
  answer.credits.times { credits << true }
end
puts "streamed: #{accepted} of 100"

read = 0
begin
  request = ConsumeRequest.new(address: "channels/demo:ruby", from_beginning: true)
  publish.consume(request, metadata: with_key, deadline: within(3)).each { |event| read += 1 if event.message }
rescue GRPC::DeadlineExceeded
  puts "consumed: #{read}, then DEADLINE_EXCEEDED"
end

begin
  publish.publish(PublishRequest.new(to: "channels/a b"), metadata: with_key, deadline: within(5))
rescue GRPC::InvalidArgument => e
  status = Errors::StatusDetails.decode(e.metadata["grpc-status-details-bin"])
  own, info, bad = [Errors::Error, Google::Rpc::ErrorInfo, Google::Rpc::BadRequest].map do |kind|
    status.details.filter_map { |detail| detail.unpack(kind) }.first
  end
  puts "refused: INVALID_ARGUMENT #{own.reason} #{own.field_violations.first.field}"
  puts "details: #{info.reason} #{bad.field_violations.first.field}"
end
