from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.publish.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
EVENT_KIND_CONNECTED: EventKind
EVENT_KIND_DISCONNECTED: EventKind
EVENT_KIND_EXPIRED: EventKind
EVENT_KIND_OCCUPIED: EventKind
EVENT_KIND_STORED: EventKind
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_VACATED: EventKind

class Event(_message.Message):
    __slots__ = ["address", "client", "connection", "id", "kind", "message_id", "node", "position", "reason", "session", "time", "user"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    address: str
    client: str
    connection: str
    id: str
    kind: EventKind
    message_id: str
    node: str
    position: _message_pb2.Position
    reason: str
    session: str
    time: _timestamp_pb2.Timestamp
    user: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[EventKind, str]] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., connection: _Optional[str] = ..., client: _Optional[str] = ..., user: _Optional[str] = ..., session: _Optional[str] = ..., node: _Optional[str] = ..., address: _Optional[str] = ..., message_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class EventGap(_message.Message):
    __slots__ = ["after", "missing", "node", "reason", "to"]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    after: _message_pb2.Position
    missing: int
    node: str
    reason: str
    to: _message_pb2.Position
    def __init__(self, after: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., to: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., reason: _Optional[str] = ..., node: _Optional[str] = ..., missing: _Optional[int] = ...) -> None: ...

class EventsHeartbeat(_message.Message):
    __slots__ = ["position"]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: _message_pb2.Position
    def __init__(self, position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ...) -> None: ...

class EventsWatched(_message.Message):
    __slots__ = ["position"]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    position: _message_pb2.Position
    def __init__(self, position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ["after", "from_beginning", "kinds"]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    after: _message_pb2.Position
    from_beginning: bool
    kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    def __init__(self, kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ..., after: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., from_beginning: bool = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ["event", "gap", "heartbeat", "watched"]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WATCHED_FIELD_NUMBER: _ClassVar[int]
    event: Event
    gap: EventGap
    heartbeat: EventsHeartbeat
    watched: EventsWatched
    def __init__(self, watched: _Optional[_Union[EventsWatched, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., gap: _Optional[_Union[EventGap, _Mapping]] = ..., heartbeat: _Optional[_Union[EventsHeartbeat, _Mapping]] = ...) -> None: ...

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []
