from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class RunCommandRequest(_message.Message):
    __slots__ = ["command", "owner"]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    command: str
    owner: str
    def __init__(self, command: _Optional[str] = ..., owner: _Optional[str] = ...) -> None: ...

class RunCommandResponse(_message.Message):
    __slots__ = ["missing", "number", "text"]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    missing: bool
    number: int
    text: str
    def __init__(self, text: _Optional[str] = ..., number: _Optional[int] = ..., missing: bool = ...) -> None: ...
