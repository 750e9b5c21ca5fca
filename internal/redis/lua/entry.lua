-- Begins the scripts about entries of an inbox, which have no more than their envelope.

-- id_of(envelope) is the id of the message: the first field of its envelope (trunkline.wire.v1.Envelope), and shorter than 128 bytes.
-- It is empty for what is no envelope.
local function id_of(envelope)
  local tag, size = string.byte(envelope or '', 1, 2)
  return tag == 10 and size and size < 128 and string.sub(envelope, 3, 2 + size) or ''
end

-- born(epoch, past, offset) is the epoch under which an entry was published: that of the meta hash, or one of its past ones.
local function born(epoch, past, offset)
  for before, o in string.gmatch(brief(past), '(%S+):(%d+)') do
    if offset > tonumber(o) then
      break
    end
    epoch = before
  end
  return epoch
end
