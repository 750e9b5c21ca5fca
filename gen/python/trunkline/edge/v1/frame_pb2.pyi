from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.errors.v1 import error_pb2 as _error_pb2
from trunkline.publish.v1 import channel_service_pb2 as _channel_service_pb2
from trunkline.publish.v1 import inbox_service_pb2 as _inbox_service_pb2
from trunkline.publish.v1 import message_pb2 as _message_pb2
from trunkline.publish.v1 import publish_service_pb2 as _publish_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClientFrame(_message.Message):
    __slots__ = ["ack", "connect", "history", "id", "ping", "presence", "publish", "refresh", "subscribe", "unsubscribe"]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    ack: _inbox_service_pb2.AckMessagesRequest
    connect: Connect
    history: _channel_service_pb2.ListMessagesRequest
    id: int
    ping: Ping
    presence: _channel_service_pb2.ListMembersRequest
    publish: _publish_service_pb2.PublishRequest
    refresh: Refresh
    subscribe: Subscribe
    unsubscribe: Unsubscribe
    def __init__(self, id: _Optional[int] = ..., connect: _Optional[_Union[Connect, _Mapping]] = ..., subscribe: _Optional[_Union[Subscribe, _Mapping]] = ..., unsubscribe: _Optional[_Union[Unsubscribe, _Mapping]] = ..., publish: _Optional[_Union[_publish_service_pb2.PublishRequest, _Mapping]] = ..., history: _Optional[_Union[_channel_service_pb2.ListMessagesRequest, _Mapping]] = ..., presence: _Optional[_Union[_channel_service_pb2.ListMembersRequest, _Mapping]] = ..., refresh: _Optional[_Union[Refresh, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., ack: _Optional[_Union[_inbox_service_pb2.AckMessagesRequest, _Mapping]] = ...) -> None: ...

class Connect(_message.Message):
    __slots__ = ["name", "own", "subscriptions", "ticket", "token"]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    own: _containers.RepeatedCompositeFieldContainer[OwnAddress]
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscribe]
    ticket: str
    token: str
    def __init__(self, token: _Optional[str] = ..., subscriptions: _Optional[_Iterable[_Union[Subscribe, _Mapping]]] = ..., name: _Optional[str] = ..., ticket: _Optional[str] = ..., own: _Optional[_Iterable[_Union[OwnAddress, _Mapping]]] = ...) -> None: ...

class Connected(_message.Message):
    __slots__ = ["client", "connection", "expire_time", "node", "own", "ping_interval_ms", "subscriptions", "ticket", "ticket_expire_time", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    PING_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    TICKET_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    connection: str
    expire_time: _timestamp_pb2.Timestamp
    node: str
    own: _containers.RepeatedCompositeFieldContainer[OwnAddress]
    ping_interval_ms: int
    subscriptions: _containers.RepeatedCompositeFieldContainer[SubscriptionResult]
    ticket: str
    ticket_expire_time: _timestamp_pb2.Timestamp
    user: str
    def __init__(self, connection: _Optional[str] = ..., client: _Optional[str] = ..., user: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ping_interval_ms: _Optional[int] = ..., node: _Optional[str] = ..., subscriptions: _Optional[_Iterable[_Union[SubscriptionResult, _Mapping]]] = ..., ticket: _Optional[str] = ..., ticket_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., own: _Optional[_Iterable[_Union[OwnAddress, _Mapping]]] = ...) -> None: ...

class OwnAddress(_message.Message):
    __slots__ = ["address", "position"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    address: str
    position: _message_pb2.Position
    def __init__(self, address: _Optional[str] = ..., position: _Optional[_Union[_message_pb2.Position, _Mapping]] = ...) -> None: ...

class Ping(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class Pong(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class Refresh(_message.Message):
    __slots__ = ["token"]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class Refreshed(_message.Message):
    __slots__ = ["expire_time", "own"]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    own: _containers.RepeatedCompositeFieldContainer[OwnAddress]
    def __init__(self, expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., own: _Optional[_Iterable[_Union[OwnAddress, _Mapping]]] = ...) -> None: ...

class ResumeTicket(_message.Message):
    __slots__ = ["expire_time", "ticket"]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    expire_time: _timestamp_pb2.Timestamp
    ticket: str
    def __init__(self, ticket: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ["acked", "connected", "dismissed", "error", "gap", "history", "id", "message", "pong", "presence", "presence_event", "published", "refreshed", "subscribed", "ticket", "unsubscribed"]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    DISMISSED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_EVENT_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    acked: _inbox_service_pb2.AckMessagesResponse
    connected: Connected
    dismissed: _message_pb2.Dismissed
    error: _error_pb2.Error
    gap: _message_pb2.Gap
    history: _channel_service_pb2.ListMessagesResponse
    id: int
    message: _message_pb2.Message
    pong: Pong
    presence: _channel_service_pb2.ListMembersResponse
    presence_event: _channel_service_pb2.PresenceEvent
    published: _publish_service_pb2.PublishResponse
    refreshed: Refreshed
    subscribed: _publish_service_pb2.Subscribed
    ticket: ResumeTicket
    unsubscribed: _publish_service_pb2.Unsubscribed
    def __init__(self, id: _Optional[int] = ..., message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., connected: _Optional[_Union[Connected, _Mapping]] = ..., subscribed: _Optional[_Union[_publish_service_pb2.Subscribed, _Mapping]] = ..., unsubscribed: _Optional[_Union[_publish_service_pb2.Unsubscribed, _Mapping]] = ..., published: _Optional[_Union[_publish_service_pb2.PublishResponse, _Mapping]] = ..., history: _Optional[_Union[_channel_service_pb2.ListMessagesResponse, _Mapping]] = ..., presence: _Optional[_Union[_channel_service_pb2.ListMembersResponse, _Mapping]] = ..., refreshed: _Optional[_Union[Refreshed, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., gap: _Optional[_Union[_message_pb2.Gap, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., acked: _Optional[_Union[_inbox_service_pb2.AckMessagesResponse, _Mapping]] = ..., dismissed: _Optional[_Union[_message_pb2.Dismissed, _Mapping]] = ..., presence_event: _Optional[_Union[_channel_service_pb2.PresenceEvent, _Mapping]] = ..., ticket: _Optional[_Union[ResumeTicket, _Mapping]] = ...) -> None: ...

class Subscribe(_message.Message):
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
    def __init__(self, address: _Optional[str] = ..., after: _Optional[_Union[_message_pb2.Position, _Mapping]] = ..., from_beginning: bool = ..., from_last: bool = ..., presence: bool = ...) -> None: ...

class SubscriptionResult(_message.Message):
    __slots__ = ["error", "subscribed"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    error: _error_pb2.Error
    subscribed: _publish_service_pb2.Subscribed
    def __init__(self, subscribed: _Optional[_Union[_publish_service_pb2.Subscribed, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class Unsubscribe(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...
