from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
EFFECT_PASS: Effect
EFFECT_STOP: Effect
EFFECT_UNKNOWN: Effect
EFFECT_UNSPECIFIED: Effect

class DeliveryDecision(_message.Message):
    __slots__ = ["detail", "effect", "step"]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    detail: str
    effect: Effect
    step: str
    def __init__(self, step: _Optional[str] = ..., effect: _Optional[_Union[Effect, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class ExplainDeliveryRequest(_message.Message):
    __slots__ = ["address", "client", "id", "user"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    address: str
    client: str
    id: str
    user: str
    def __init__(self, address: _Optional[str] = ..., id: _Optional[str] = ..., client: _Optional[str] = ..., user: _Optional[str] = ...) -> None: ...

class ExplainDeliveryResponse(_message.Message):
    __slots__ = ["decisions", "verdict"]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[DeliveryDecision]
    verdict: str
    def __init__(self, verdict: _Optional[str] = ..., decisions: _Optional[_Iterable[_Union[DeliveryDecision, _Mapping]]] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ["nodes"]
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ["connections", "name", "roles", "start_time", "version"]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    connections: int
    name: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    start_time: _timestamp_pb2.Timestamp
    version: str
    def __init__(self, name: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., connections: _Optional[int] = ...) -> None: ...

class Effect(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []
