"""Calls the server with the generated Python client: issue a token, publish, batch, stream, consume.
Arguments: host:port of gRPC, API key."""

import json
import sys
from urllib.parse import quote

import grpc

from trunkline.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from trunkline.publish.v1 import publish_service_pb2, publish_service_pb2_grpc

target, key = sys.argv[1:]
metadata = [("authorization", "Bearer " + key)]
to = "channels/py:demo"


def data(n):
    return json.dumps({"n": n}).encode()


with grpc.insecure_channel(target) as channel:
    auth = auth_service_pb2_grpc.AuthServiceStub(channel)
    publish = publish_service_pb2_grpc.PublishServiceStub(channel)

    issued = auth.IssueToken(auth_service_pb2.IssueTokenRequest(user="ada"), metadata=metadata)
    who = auth.ValidateToken(auth_service_pb2.ValidateTokenRequest(token=issued.token), metadata=metadata)
    assert who.identity.user == "ada", who

    # A user whom another system has named: raw or escaped is the same.
    for spelling in ("auth0|5f", "auth0%7C5f", quote("auth0|5f", safe="")):
        issued = auth.IssueToken(auth_service_pb2.IssueTokenRequest(user=spelling), metadata=metadata)
        who = auth.ValidateToken(auth_service_pb2.ValidateTokenRequest(token=issued.token), metadata=metadata)
        assert who.identity.user == "auth0%7C5f", who
        publish.Publish(publish_service_pb2.PublishRequest(to="users/" + spelling, data=data(0)), metadata=metadata)

    one = publish.Publish(publish_service_pb2.PublishRequest(to=to, data=data(1)), metadata=metadata)
    assert one.position.offset == 1, one
    batch = publish.BatchPublish(
        publish_service_pb2.BatchPublishRequest(
            requests=[
                publish_service_pb2.PublishRequest(to=to, data=data(2)),
                publish_service_pb2.PublishRequest(to="nowhere"),
                publish_service_pb2.PublishRequest(to=to, data=data(3)),
            ]
        ),
        metadata=metadata,
    )
    assert [r.WhichOneof("outcome") for r in batch.results] == ["ok", "error", "ok"], batch

    def items():
        for n in range(4, 54):
            request = publish_service_pb2.PublishRequest(to=to, data=data(n))
            yield publish_service_pb2.PublishStreamRequest(sequence=n, publish=request)

    answered = [r for a in publish.PublishStream(items(), metadata=metadata) for r in a.results]
    assert len(answered) == 50 and all(r.result.WhichOneof("outcome") == "ok" for r in answered), answered

    following = publish.Consume(publish_service_pb2.ConsumeRequest(address=to, from_beginning=True), metadata=metadata)
    want = 1
    for event in following:
        if event.WhichOneof("event") != "message":
            continue
        assert json.loads(event.message.data)["n"] == want, event
        want += 1
        if want > 53:
            break
    following.cancel()

    try:
        publish.Publish(publish_service_pb2.PublishRequest(to="channels/a b"), metadata=metadata)
        raise AssertionError("published to a name that is none")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.INVALID_ARGUMENT, e
    try:
        publish.Publish(publish_service_pb2.PublishRequest(to=to))
        raise AssertionError("published without credentials")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.UNAUTHENTICATED, e
print("DONE")
