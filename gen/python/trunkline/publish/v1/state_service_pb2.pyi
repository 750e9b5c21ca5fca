from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.publish.v1 import message_pb2 as _message_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeleteStateRequest(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class DeleteStateResponse(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ["address"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class GetStateResponse(_message.Message):
    __slots__ = ["state"]
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: State
    def __init__(self, state: _Optional[_Union[State, _Mapping]] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ["address", "content_type", "data", "revision", "update_time"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    address: str
    content_type: _message_pb2.ContentType
    data: bytes
    revision: int
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, address: _Optional[str] = ..., revision: _Optional[int] = ..., data: _Optional[bytes] = ..., content_type: _Optional[_Union[_message_pb2.ContentType, str]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UpdateStateRequest(_message.Message):
    __slots__ = ["address", "content_type", "data", "idempotency_key", "revision", "sender"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    address: str
    content_type: _message_pb2.ContentType
    data: bytes
    idempotency_key: str
    revision: int
    sender: _message_pb2.Sender
    def __init__(self, address: _Optional[str] = ..., data: _Optional[bytes] = ..., content_type: _Optional[_Union[_message_pb2.ContentType, str]] = ..., revision: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., sender: _Optional[_Union[_message_pb2.Sender, _Mapping]] = ...) -> None: ...

class UpdateStateResponse(_message.Message):
    __slots__ = ["state"]
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: State
    def __init__(self, state: _Optional[_Union[State, _Mapping]] = ...) -> None: ...
