from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class CheckPushChannelRequest(_message.Message):
    __slots__ = ["channel", "channel_token"]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channel: str
    channel_token: str
    def __init__(self, channel: _Optional[str] = ..., channel_token: _Optional[str] = ...) -> None: ...

class CheckPushChannelResponse(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class CreatePushChannelRequest(_message.Message):
    __slots__ = ["channel"]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    channel: str
    def __init__(self, channel: _Optional[str] = ...) -> None: ...

class CreatePushChannelResponse(_message.Message):
    __slots__ = ["channel_token"]
    CHANNEL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channel_token: str
    def __init__(self, channel_token: _Optional[str] = ...) -> None: ...

class DeletePushChannelRequest(_message.Message):
    __slots__ = ["channel", "channel_token"]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channel: str
    channel_token: str
    def __init__(self, channel: _Optional[str] = ..., channel_token: _Optional[str] = ...) -> None: ...

class DeletePushChannelResponse(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...

class GetPushStatisticsRequest(_message.Message):
    __slots__ = ["page_token"]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_token: str
    def __init__(self, page_token: _Optional[str] = ...) -> None: ...

class GetPushStatisticsResponse(_message.Message):
    __slots__ = ["channels", "clients_amount", "next_page_token"]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedScalarFieldContainer[str]
    clients_amount: int
    next_page_token: str
    def __init__(self, channels: _Optional[_Iterable[str]] = ..., clients_amount: _Optional[int] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PushMessageRequest(_message.Message):
    __slots__ = ["channel", "channel_token", "message", "recipients"]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    channel: str
    channel_token: str
    message: str
    recipients: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, channel: _Optional[str] = ..., channel_token: _Optional[str] = ..., recipients: _Optional[_Iterable[str]] = ..., message: _Optional[str] = ...) -> None: ...

class PushMessageResponse(_message.Message):
    __slots__: list[str] = []
    def __init__(self) -> None: ...
