from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.errors.v1 import error_pb2 as _error_pb2
from trunkline.publish.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AckMessagesRequest(_message.Message):
    __slots__ = ["address", "client", "ids"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    address: str
    client: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, address: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ..., client: _Optional[str] = ...) -> None: ...

class AckMessagesResponse(_message.Message):
    __slots__ = ["acked", "refused"]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    acked: int
    refused: _containers.RepeatedCompositeFieldContainer[AckRefusal]
    def __init__(self, acked: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[AckRefusal, _Mapping]]] = ...) -> None: ...

class AckRefusal(_message.Message):
    __slots__ = ["error", "id"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    error: _error_pb2.Error
    id: str
    def __init__(self, id: _Optional[str] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class GetInboxStatsRequest(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class GetInboxStatsResponse(_message.Message):
    __slots__ = ["count", "keep", "limit", "oldest_time"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_TIME_FIELD_NUMBER: _ClassVar[int]
    count: int
    keep: _duration_pb2.Duration
    limit: int
    oldest_time: _timestamp_pb2.Timestamp
    def __init__(self, count: _Optional[int] = ..., limit: _Optional[int] = ..., oldest_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., keep: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class InboxEntry(_message.Message):
    __slots__ = ["ack_deadline", "deliveries", "expire_time", "message", "state"]
    ACK_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ack_deadline: _timestamp_pb2.Timestamp
    deliveries: int
    expire_time: _timestamp_pb2.Timestamp
    message: _message_pb2.Message
    state: _message_pb2.DeliveryState
    def __init__(self, message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., state: _Optional[_Union[_message_pb2.DeliveryState, str]] = ..., deliveries: _Optional[int] = ..., ack_deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListInboxRequest(_message.Message):
    __slots__ = ["address", "page_size", "page_token"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    address: str
    page_size: int
    page_token: str
    def __init__(self, address: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListInboxResponse(_message.Message):
    __slots__ = ["entries", "next_page_token"]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[InboxEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[InboxEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
