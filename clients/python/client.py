"""A back end in Python. Arguments: host:port of gRPC, API key."""

import json
import sys
import threading

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from trunkline.auth.v1 import auth_service_pb2 as auth_pb, auth_service_pb2_grpc as auth_grpc
from trunkline.errors.v1 import error_pb2 as errors_pb
from trunkline.publish.v1 import inbox_service_pb2 as inbox_pb, message_pb2 as message_pb
from trunkline.publish.v1 import publish_service_pb2 as publish_pb, publish_service_pb2_grpc as publish_grpc


def connect(target):
    service = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": "trunkline.publish.v1.PublishService"},
    }
    channel = grpc.insecure_channel(
        target,  # with TLS: grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=…)
        options=[("grpc.service_config", json.dumps(service)), ("grpc.keepalive_time_ms", 30_000)],
    )
    grpc.channel_ready_future(channel).result(timeout=10)
    print("health: SERVING")
    return channel


def bearer(key):
    return [("authorization", "Bearer " + key)]


def token(auth, key):
    request = auth_pb.IssueTokenRequest(user="ada", client="phone", ttl=Duration(seconds=3600))
    answer = auth.IssueToken(request, metadata=bearer(key), timeout=5)
    print("token: for ada")
    return answer.token


def send(publish, key):
    request = publish_pb.PublishRequest(
        to="users/ada",
        data=b'{"text":"hello"}',
        ack=message_pb.AckPolicy(timeout=Duration(seconds=30)),
        idempotency_key="order-7-paid",
    )
    answer = publish.Publish(request, metadata=bearer(key), timeout=5, compression=grpc.Compression.Gzip)
    print("published: to users/ada")
    return answer.id


def stream(publish, key, to):
    credits = threading.Semaphore(0)

    def requests():
        for n in range(1, 101):
            credits.acquire()
            message = publish_pb.PublishRequest(to=to, data=json.dumps({"n": n}).encode())
            yield publish_pb.PublishStreamRequest(sequence=n, publish=message)

    accepted = 0
    for answer in publish.PublishStream(requests(), metadata=bearer(key)):
        accepted += sum(1 for r in answer.results if r.result.WhichOneof("outcome") == "ok")
        for _ in range(answer.credits):
            credits.release()
    print(f"streamed: {accepted} of 100")


def follow(publish, user_token):
    ask = publish_pb.ConsumeRequest(address="users/ada", from_beginning=True)  # what waits for an ack, and what comes
    commands = [publish_pb.SubscribeRequest(sequence=1, subscribe=ask)]
    more = threading.Semaphore(1)

    def requests():
        while more.acquire() and commands:
            yield commands.pop(0)

    for event in publish.Subscribe(requests(), metadata=bearer(user_token)):
        kind = event.WhichOneof("event")
        if kind == "message":
            print("message:", event.message.data.decode())
            ack = inbox_pb.AckMessagesRequest(address=event.message.to, ids=[event.message.id])
            commands.append(publish_pb.SubscribeRequest(sequence=2, ack=ack))
            more.release()
        elif kind == "acked":
            print("acknowledged:", event.acked.acked)
            more.release()  # no command is left, so this ends the stream
        elif kind == "error":
            raise RuntimeError(event.error.message)


def receipt(publish, key, message_id):
    request = publish_pb.WatchReceiptsRequest(address="users/ada", id=message_id)
    for answer in publish.WatchReceipts(request, metadata=bearer(key)):
        state = message_pb.DeliveryState.Name(answer.receipt.state)
    print("receipt:", state.removeprefix("DELIVERY_STATE_"))


def consume(publish, key, address):
    read = 0
    try:
        request = publish_pb.ConsumeRequest(address=address, from_beginning=True)
        for event in publish.Consume(request, metadata=bearer(key), timeout=3):
            read += event.WhichOneof("event") == "message"
    except grpc.RpcError as e:
        print(f"consumed: {read}, then {e.code().name}")


def refused(publish, key):
    own, info, bad = errors_pb.Error(), error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    try:
        publish.Publish(publish_pb.PublishRequest(to="channels/a b"), metadata=bearer(key), timeout=5)
    except grpc.RpcError as e:
        trailer = dict(e.trailing_metadata())["grpc-status-details-bin"]
        for detail in errors_pb.StatusDetails.FromString(trailer).details:
            _ = detail.Unpack(own) or detail.Unpack(info) or detail.Unpack(bad)
        print("refused:", e.code().name, own.reason, own.field_violations[0].field)
        print("details:", info.reason, bad.field_violations[0].field)


target, key = sys.argv[1:]
with connect(target) as channel:
    auth, publish = auth_grpc.AuthServiceStub(channel), publish_grpc.PublishServiceStub(channel)
    user_token = token(auth, key)
    message_id = send(publish, key)
    follow(publish, user_token)
    receipt(publish, key, message_id)
    stream(publish, key, "channels/demo:python")
    consume(publish, key, "channels/demo:python")
    refused(publish, key)
