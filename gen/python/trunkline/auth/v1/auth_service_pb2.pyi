from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trunkline.errors.v1 import error_pb2 as _error_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

ACTION_HISTORY: Action
ACTION_PRESENCE: Action
ACTION_PUBLISH: Action
ACTION_SUBSCRIBE: Action
ACTION_UNSPECIFIED: Action
DESCRIPTOR: _descriptor.FileDescriptor

class BatchValidateTokensRequest(_message.Message):
    __slots__ = ["explain", "tokens"]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    explain: bool
    tokens: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, tokens: _Optional[_Iterable[str]] = ..., explain: bool = ...) -> None: ...

class BatchValidateTokensResponse(_message.Message):
    __slots__ = ["results"]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ValidateTokenResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ValidateTokenResult, _Mapping]]] = ...) -> None: ...

class GetKeySetRequest(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class GetKeySetResponse(_message.Message):
    __slots__ = ["keys"]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[JsonWebKey]
    def __init__(self, keys: _Optional[_Iterable[_Union[JsonWebKey, _Mapping]]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ["actions", "address"]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    actions: _containers.RepeatedScalarFieldContainer[Action]
    address: str
    def __init__(self, address: _Optional[str] = ..., actions: _Optional[_Iterable[_Union[Action, str]]] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ["client", "derived_client", "expire_time", "family", "grants", "groups", "issue_time", "issue_tolerance", "outlives_loss", "session", "token_id", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    DERIVED_CLIENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TIME_FIELD_NUMBER: _ClassVar[int]
    ISSUE_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    OUTLIVES_LOSS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    derived_client: bool
    expire_time: _timestamp_pb2.Timestamp
    family: str
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    groups: _containers.RepeatedScalarFieldContainer[str]
    issue_time: _timestamp_pb2.Timestamp
    issue_tolerance: _duration_pb2.Duration
    outlives_loss: bool
    session: str
    token_id: str
    user: str
    def __init__(self, client: _Optional[str] = ..., user: _Optional[str] = ..., session: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., token_id: _Optional[str] = ..., issue_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., family: _Optional[str] = ..., issue_tolerance: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., outlives_loss: bool = ..., derived_client: bool = ...) -> None: ...

class IssueTokenRequest(_message.Message):
    __slots__ = ["client", "grants", "groups", "refreshable", "session", "ttl", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    REFRESHABLE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    groups: _containers.RepeatedScalarFieldContainer[str]
    refreshable: bool
    session: str
    ttl: _duration_pb2.Duration
    user: str
    def __init__(self, client: _Optional[str] = ..., user: _Optional[str] = ..., session: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., ttl: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., refreshable: bool = ...) -> None: ...

class IssueTokenResponse(_message.Message):
    __slots__ = ["client", "expire_time", "refresh_expire_time", "refresh_token", "token", "token_id"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    client: str
    expire_time: _timestamp_pb2.Timestamp
    refresh_expire_time: _timestamp_pb2.Timestamp
    refresh_token: str
    token: str
    token_id: str
    def __init__(self, token: _Optional[str] = ..., token_id: _Optional[str] = ..., client: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., refresh_token: _Optional[str] = ..., refresh_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JsonWebKey(_message.Message):
    __slots__ = ["alg", "crv", "e", "key_use", "kid", "kty", "n", "x", "y"]
    ALG_FIELD_NUMBER: _ClassVar[int]
    CRV_FIELD_NUMBER: _ClassVar[int]
    E_FIELD_NUMBER: _ClassVar[int]
    KEY_USE_FIELD_NUMBER: _ClassVar[int]
    KID_FIELD_NUMBER: _ClassVar[int]
    KTY_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    alg: str
    crv: str
    e: str
    key_use: str
    kid: str
    kty: str
    n: str
    x: str
    y: str
    def __init__(self, kty: _Optional[str] = ..., kid: _Optional[str] = ..., key_use: _Optional[str] = ..., alg: _Optional[str] = ..., crv: _Optional[str] = ..., x: _Optional[str] = ..., y: _Optional[str] = ..., n: _Optional[str] = ..., e: _Optional[str] = ...) -> None: ...

class RefreshKeySetsRequest(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class RefreshKeySetsResponse(_message.Message):
    __slots__ = ["issuers"]
    ISSUERS_FIELD_NUMBER: _ClassVar[int]
    issuers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, issuers: _Optional[_Iterable[str]] = ...) -> None: ...

class RefreshTokenRequest(_message.Message):
    __slots__ = ["refresh_token"]
    REFRESH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    refresh_token: str
    def __init__(self, refresh_token: _Optional[str] = ...) -> None: ...

class RefreshTokenResponse(_message.Message):
    __slots__ = ["client", "expire_time", "refresh_expire_time", "refresh_token", "token", "token_id"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REFRESH_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    client: str
    expire_time: _timestamp_pb2.Timestamp
    refresh_expire_time: _timestamp_pb2.Timestamp
    refresh_token: str
    token: str
    token_id: str
    def __init__(self, token: _Optional[str] = ..., token_id: _Optional[str] = ..., client: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., refresh_token: _Optional[str] = ..., refresh_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RevokeTokenRequest(_message.Message):
    __slots__ = ["client", "issued_before", "session", "token", "token_id", "user"]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    client: str
    issued_before: _timestamp_pb2.Timestamp
    session: str
    token: str
    token_id: str
    user: str
    def __init__(self, token: _Optional[str] = ..., token_id: _Optional[str] = ..., client: _Optional[str] = ..., session: _Optional[str] = ..., user: _Optional[str] = ..., issued_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RevokeTokenResponse(_message.Message):
    __slots__ = ["revoke_time"]
    REVOKE_TIME_FIELD_NUMBER: _ClassVar[int]
    revoke_time: _timestamp_pb2.Timestamp
    def __init__(self, revoke_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ValidateTokenRequest(_message.Message):
    __slots__ = ["explain", "token"]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    explain: bool
    token: str
    def __init__(self, token: _Optional[str] = ..., explain: bool = ...) -> None: ...

class ValidateTokenResponse(_message.Message):
    __slots__ = ["identity"]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    identity: Identity
    def __init__(self, identity: _Optional[_Union[Identity, _Mapping]] = ...) -> None: ...

class ValidateTokenResult(_message.Message):
    __slots__ = ["error", "identity"]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    error: _error_pb2.Error
    identity: Identity
    def __init__(self, identity: _Optional[_Union[Identity, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ...) -> None: ...

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__: list[str] = []
