from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuthorizeConnectRequest(_message.Message):
    __slots__ = ["dialect", "facility", "subject", "wishes"]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    FACILITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    WISHES_FIELD_NUMBER: _ClassVar[int]
    dialect: str
    facility: str
    subject: Subject
    wishes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., dialect: _Optional[str] = ..., facility: _Optional[str] = ..., wishes: _Optional[_Iterable[str]] = ...) -> None: ...

class AuthorizeConnectResponse(_message.Message):
    __slots__ = ["decision"]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class AuthorizeDeliverRequest(_message.Message):
    __slots__ = ["address", "attributes", "message_id", "subject"]
    class AttributesEntry(_message.Message):
        __slots__ = ["key", "value"]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    address: str
    attributes: _containers.ScalarMap[str, str]
    message_id: str
    subject: Subject
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., address: _Optional[str] = ..., message_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AuthorizeDeliverResponse(_message.Message):
    __slots__ = ["decision"]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class AuthorizePublishRequest(_message.Message):
    __slots__ = ["address", "audience", "dialect", "facility", "subject"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    FACILITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    address: str
    audience: str
    dialect: str
    facility: str
    subject: Subject
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., address: _Optional[str] = ..., dialect: _Optional[str] = ..., facility: _Optional[str] = ..., audience: _Optional[str] = ...) -> None: ...

class AuthorizePublishResponse(_message.Message):
    __slots__ = ["decision"]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class AuthorizeSubscribeRequest(_message.Message):
    __slots__ = ["address", "audience", "dialect", "facility", "subject"]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    FACILITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    address: str
    audience: str
    dialect: str
    facility: str
    subject: Subject
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., address: _Optional[str] = ..., dialect: _Optional[str] = ..., facility: _Optional[str] = ..., audience: _Optional[str] = ...) -> None: ...

class AuthorizeSubscribeResponse(_message.Message):
    __slots__ = ["decision"]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ["allowed", "cache_for", "reason"]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    CACHE_FOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    cache_for: _duration_pb2.Duration
    reason: str
    def __init__(self, allowed: bool = ..., reason: _Optional[str] = ..., cache_for: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Subject(_message.Message):
    __slots__ = ["client", "groups", "session", "token_id", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    session: str
    token_id: str
    user: str
    def __init__(self, client: _Optional[str] = ..., user: _Optional[str] = ..., session: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., token_id: _Optional[str] = ...) -> None: ...
