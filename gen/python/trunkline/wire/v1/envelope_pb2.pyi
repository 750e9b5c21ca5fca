from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ["ack_scope", "attributes", "content_type", "data", "exclude_client", "exclude_connection", "from_client", "from_user", "id", "kind", "publish_time_ms", "recipients", "ttl_ms"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACK_SCOPE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_CLIENT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_CONNECTION_FIELD_NUMBER: _ClassVar[int]
    FROM_CLIENT_FIELD_NUMBER: _ClassVar[int]
    FROM_USER_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    ack_scope: int
    attributes: _containers.ScalarMap[str, str]
    content_type: int
    data: bytes
    exclude_client: str
    exclude_connection: str
    from_client: str
    from_user: str
    id: str
    kind: int
    publish_time_ms: int
    recipients: _containers.RepeatedScalarFieldContainer[str]
    ttl_ms: int
    def __init__(self, id: _Optional[str] = ..., data: _Optional[bytes] = ..., content_type: _Optional[int] = ..., publish_time_ms: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., from_client: _Optional[str] = ..., from_user: _Optional[str] = ..., recipients: _Optional[_Iterable[str]] = ..., exclude_client: _Optional[str] = ..., exclude_connection: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., kind: _Optional[int] = ..., ack_scope: _Optional[int] = ...) -> None: ...
