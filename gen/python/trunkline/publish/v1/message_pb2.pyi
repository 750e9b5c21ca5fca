from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ACK_SCOPE_ANY_DEVICE: AckScope
ACK_SCOPE_EACH_DEVICE: AckScope
ACK_SCOPE_UNSPECIFIED: AckScope
CONTENT_TYPE_BINARY: ContentType
CONTENT_TYPE_JSON: ContentType
CONTENT_TYPE_TEXT: ContentType
CONTENT_TYPE_UNSPECIFIED: ContentType
DELIVERY_STATE_ACKED: DeliveryState
DELIVERY_STATE_DENIED: DeliveryState
DELIVERY_STATE_EXPIRED: DeliveryState
DELIVERY_STATE_PENDING: DeliveryState
DELIVERY_STATE_SENT: DeliveryState
DELIVERY_STATE_STORED: DeliveryState
DELIVERY_STATE_UNSPECIFIED: DeliveryState
DESCRIPTOR: _descriptor.FileDescriptor
DURABILITY_ACCEPTED: Durability
DURABILITY_FSYNCED: Durability
DURABILITY_LIVE: Durability
DURABILITY_REPLICATED: Durability
DURABILITY_UNSPECIFIED: Durability

class AckPolicy(_message.Message):
    __slots__ = ["collapse_key", "dead_letter", "keep", "max_deliveries", "scope", "timeout"]
    COLLAPSE_KEY_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    MAX_DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    collapse_key: str
    dead_letter: str
    keep: _duration_pb2.Duration
    max_deliveries: int
    scope: AckScope
    timeout: _duration_pb2.Duration
    def __init__(self, scope: _Optional[_Union[AckScope, str]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., keep: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., collapse_key: _Optional[str] = ..., max_deliveries: _Optional[int] = ..., dead_letter: _Optional[str] = ...) -> None: ...

class Dismissed(_message.Message):
    __slots__ = ["address", "ids"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    address: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, address: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ["address", "after", "reason", "to"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    address: str
    after: Position
    reason: str
    to: Position
    def __init__(self, address: _Optional[str] = ..., after: _Optional[_Union[Position, _Mapping]] = ..., to: _Optional[_Union[Position, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ["ack_required", "attributes", "content_type", "data", "expire_time", "id", "position", "publish_time", "redelivered", "sender", "to"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACK_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    ack_required: bool
    attributes: _containers.ScalarMap[str, str]
    content_type: ContentType
    data: bytes
    expire_time: _timestamp_pb2.Timestamp
    id: str
    position: Position
    publish_time: _timestamp_pb2.Timestamp
    redelivered: bool
    sender: Sender
    to: str
    def __init__(self, id: _Optional[str] = ..., to: _Optional[str] = ..., sender: _Optional[_Union[Sender, _Mapping]] = ..., data: _Optional[bytes] = ..., content_type: _Optional[_Union[ContentType, str]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., publish_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., redelivered: bool = ..., ack_required: bool = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ["epoch", "offset"]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    offset: int
    def __init__(self, epoch: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ["ack_deadline", "acked_count", "address", "deliveries", "denied_count", "end_time", "expire_time", "id", "publish_time", "reason", "recipients", "scope", "sent_count", "state"]
    ACKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACK_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    DENIED_COUNT_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ack_deadline: _timestamp_pb2.Timestamp
    acked_count: int
    address: str
    deliveries: int
    denied_count: int
    end_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    id: str
    publish_time: _timestamp_pb2.Timestamp
    reason: str
    recipients: _containers.RepeatedCompositeFieldContainer[RecipientReceipt]
    scope: AckScope
    sent_count: int
    state: DeliveryState
    def __init__(self, address: _Optional[str] = ..., id: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., scope: _Optional[_Union[AckScope, str]] = ..., publish_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ack_deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., deliveries: _Optional[int] = ..., recipients: _Optional[_Iterable[_Union[RecipientReceipt, _Mapping]]] = ..., sent_count: _Optional[int] = ..., acked_count: _Optional[int] = ..., denied_count: _Optional[int] = ...) -> None: ...

class RecipientReceipt(_message.Message):
    __slots__ = ["ack_time", "client", "deny_reason", "deny_time", "sent_time", "state"]
    ACK_TIME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    DENY_REASON_FIELD_NUMBER: _ClassVar[int]
    DENY_TIME_FIELD_NUMBER: _ClassVar[int]
    SENT_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ack_time: _timestamp_pb2.Timestamp
    client: str
    deny_reason: str
    deny_time: _timestamp_pb2.Timestamp
    sent_time: _timestamp_pb2.Timestamp
    state: DeliveryState
    def __init__(self, client: _Optional[str] = ..., state: _Optional[_Union[DeliveryState, str]] = ..., sent_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ack_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., deny_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., deny_reason: _Optional[str] = ...) -> None: ...

class Sender(_message.Message):
    __slots__ = ["client", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    user: str
    def __init__(self, client: _Optional[str] = ..., user: _Optional[str] = ...) -> None: ...

class ContentType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []

class AckScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []

class DeliveryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []
