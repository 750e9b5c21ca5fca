from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.errors.v1 import error_pb2 as _error_pb2
from trunkline.publish.v1 import channel_service_pb2 as _channel_service_pb2
from trunkline.publish.v1 import inbox_service_pb2 as _inbox_service_pb2
from trunkline.publish.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BatchPublishRequest(_message.Message):
    __slots__ = ["requests"]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[PublishRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[PublishRequest, _Mapping]]] = ...) -> None: ...

class BatchPublishResponse(_message.Message):
    __slots__ = ["refused", "results"]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    refused: int
    results: _containers.RepeatedCompositeFieldContainer[PublishResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PublishResult, _Mapping]]] = ..., refused: _Optional[int] = ...) -> None: ...

class ConsumeRequest(_message.Message):
    __slots__ = ["address", "after", "from_beginning", "from_last", "presence"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    FROM_LAST_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    address: str
    after: _message_pb2.Position
    from_beginning: bool
    from_last: bool
    presence: bool
    def __init__(self, address: _Optional[str] = ..., after: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., from_beginning: bool = ..., presence: bool = ..., from_last: bool = ...) -> None: ...

class ConsumeResponse(_message.Message):
    __slots__ = ["dismissed", "gap", "heartbeat", "message", "presence_event", "subscribed"]
    DISMISSED_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_EVENT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    dismissed: _message_pb2.Dismissed
    gap: _message_pb2.Gap
    heartbeat: Heartbeat
    message: _message_pb2.Message
    presence_event: _channel_service_pb2.PresenceEvent
    subscribed: Subscribed
    def __init__(self, subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., gap: _Optional[_Union[_message_pb2.Gap, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., dismissed: _Optional[_Union[_message_pb2.Dismissed, _Mapping]] = ..., presence_event: _Optional[_Union[_channel_service_pb2.PresenceEvent, _Mapping]] = ...) -> None: ...

class CreateStreamTicketRequest(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class CreateStreamTicketResponse(_message.Message):
    __slots__ = ["expire_time", "ticket"]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    ticket: str
    def __init__(self, ticket: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetReceiptRequest(_message.Message):
    __slots__ = ["address", "id"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    address: str
    id: str
    def __init__(self, address: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetReceiptResponse(_message.Message):
    __slots__ = ["receipt"]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _message_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_message_pb2.Receipt, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ["ack", "attributes", "content_type", "data", "durability", "exclude_connection", "exclude_sender", "idempotency_key", "recipients", "replicas", "retain", "sender", "to", "ttl"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACK_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SENDER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    RETAIN_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    ack: _message_pb2.AckPolicy
    attributes: _containers.ScalarMap[str, str]
    content_type: _message_pb2.ContentType
    data: bytes
    durability: _message_pb2.Durability
    exclude_connection: str
    exclude_sender: bool
    idempotency_key: str
    recipients: _containers.RepeatedScalarFieldContainer[str]
    replicas: int
    retain: _duration_pb2.Duration
    sender: _message_pb2.Sender
    to: str
    ttl: _duration_pb2.Duration
    def __init__(self, to: _Optional[str] = ..., data: _Optional[bytes] = ..., content_type: _Optional[_Union[_message_pb2.ContentType, str]] = ..., recipients: _Optional[_Iterable[str]] = ..., exclude_sender: bool = ..., attributes: _Optional[_Mapping[str, str]] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., idempotency_key: _Optional[str] = ..., sender: _Optional[_Union[_message_pb2.Sender, _Mapping]] = ..., exclude_connection: _Optional[str] = ..., ack: _Optional[_Union[_message_pb2.AckPolicy, _Mapping]] = ..., durability: _Optional[_Union[_message_pb2.Durability, str]] = ..., replicas: _Optional[int] = ..., retain: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ["duplicate", "durability", "id", "position", "publish_time", "replicas"]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    durability: _message_pb2.Durability
    id: str
    position: _message_pb2.Position
    publish_time: _timestamp_pb2.Timestamp
    replicas: int
    def __init__(self, id: _Optional[str] = ..., position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., duplicate: bool = ..., durability: _Optional[_Union[_message_pb2.Durability, str]] = ..., publish_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., replicas: _Optional[int] = ...) -> None: ...

class PublishResult(_message.Message):
    __slots__ = ["error", "ok"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    error: _error_pb2.Error
    ok: PublishResponse
    def __init__(self, ok: _Optional[_Union[PublishResponse, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class PublishStreamRequest(_message.Message):
    __slots__ = ["publish", "sequence"]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    publish: PublishRequest
    sequence: int
    def __init__(self, sequence: _Optional[int] = ..., publish: _Optional[_Union[PublishRequest, _Mapping]] = ...) -> None: ...

class PublishStreamResponse(_message.Message):
    __slots__ = ["credits", "heartbeat", "results"]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    credits: int
    heartbeat: Heartbeat
    results: _containers.RepeatedCompositeFieldContainer[PublishStreamResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PublishStreamResult, _Mapping]]] = ..., credits: _Optional[int] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class PublishStreamResult(_message.Message):
    __slots__ = ["result", "sequence"]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    result: PublishResult
    sequence: int
    def __init__(self, sequence: _Optional[int] = ..., result: _Optional[_Union[PublishResult, _Mapping]] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ["ack", "sequence", "subscribe", "unsubscribe"]
    ACK_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    ack: _inbox_service_pb2.AckMessagesRequest
    sequence: int
    subscribe: ConsumeRequest
    unsubscribe: UnsubscribeCommand
    def __init__(self, sequence: _Optional[int] = ..., subscribe: _Optional[_Union[ConsumeRequest, _Mapping]] = ..., unsubscribe: _Optional[_Union[UnsubscribeCommand, _Mapping]] = ..., ack: _Optional[_Union[_inbox_service_pb2.AckMessagesRequest, _Mapping]] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ["acked", "dismissed", "error", "gap", "heartbeat", "message", "presence_event", "sequence", "subscribed", "unsubscribed"]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    DISMISSED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_EVENT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    acked: _inbox_service_pb2.AckMessagesResponse
    dismissed: _message_pb2.Dismissed
    error: _error_pb2.Error
    gap: _message_pb2.Gap
    heartbeat: Heartbeat
    message: _message_pb2.Message
    presence_event: _channel_service_pb2.PresenceEvent
    sequence: int
    subscribed: Subscribed
    unsubscribed: Unsubscribed
    def __init__(self, sequence: _Optional[int] = ..., subscribed: _Optional[_Union[Subscribed, _Mapping]] = ..., unsubscribed: _Optional[_Union[Unsubscribed, _Mapping]] = ..., message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., gap: _Optional[_Union[_message_pb2.Gap, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., acked: _Optional[_Union[_inbox_service_pb2.AckMessagesResponse, _Mapping]] = ..., dismissed: _Optional[_Union[_message_pb2.Dismissed, _Mapping]] = ..., presence_event: _Optional[_Union[_channel_service_pb2.PresenceEvent, _Mapping]] = ...) -> None: ...

class Subscribed(_message.Message):
    __slots__ = ["address", "position", "recovered"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_FIELD_NUMBER: _ClassVar[int]
    address: str
    position: _message_pb2.Position
    recovered: bool
    def __init__(self, address: _Optional[str] = ..., position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., recovered: bool = ...) -> None: ...

class UnsubscribeCommand(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class Unsubscribed(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class WatchReceiptsRequest(_message.Message):
    __slots__ = ["address", "id"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    address: str
    id: str
    def __init__(self, address: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class WatchReceiptsResponse(_message.Message):
    __slots__ = ["heartbeat", "receipt"]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    heartbeat: Heartbeat
    receipt: _message_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_message_pb2.Receipt, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...
