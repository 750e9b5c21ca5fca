package pipes

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/trunkline/trunkline/internal/redis/server"
)

// A slot that is on its way to another master is importing there. A command with several keys is refused there while one of them
// is missing, which for ours is always so. A variant is a script that declares one key alone and gets the others as arguments.
//
// ARGV: 1 how many keys, then the keys, then the arguments of the script.
// Returns what the script returns, and the channels and messages of its pushes, because the subscribers are still at the other
// master.

const variantHead = `
local keys, args, pushed, server = {}, {}, {}, redis
for i = 2, #ARGV do
  if i <= ARGV[1] + 1 then keys[#keys + 1] = ARGV[i] else args[#args + 1] = ARGV[i] end
end
local KEYS, ARGV = keys, args
-- Commands with several keys are refused inside of a script, too: they are taken apart.
local function apart(run)
  return function(verb, ...)
    local name, list = string.upper(verb), {...}
    if name == 'SPUBLISH' then
      pushed[#pushed + 1] = list[1]
      pushed[#pushed + 1] = list[2]
    elseif name == 'MGET' then
      local out = {}
      for i, key in ipairs(list) do
        out[i] = run('GET', key)
      end
      return out
    elseif #list > 1 and (name == 'DEL' or name == 'UNLINK' or name == 'EXISTS') then
      local n = 0
      for _, key in ipairs(list) do
        n = n + run(verb, key)
      end
      return n
    elseif name == 'RENAME' then -- of a hash
      local ttl, fields = run('PTTL', list[1]), run('HGETALL', list[1])
      run('DEL', list[2])
      for i = 1, #fields, 2 do
        run('HSET', list[2], fields[i], fields[i + 1])
      end
      if ttl > 0 then
        run('PEXPIRE', list[2], ttl)
      end
      run('DEL', list[1])
      return {ok = 'OK'}
    end
    return run(verb, ...)
  end
end
local redis = setmetatable({call = apart(server.call), pcall = apart(server.pcall)}, {__index = server})
local function body()
`

const variantTail = `
end
return {body() or false, pushed}
`

// VariantOf returns the variant of a script's text.
func VariantOf(text string) string {
	line, body := server.Shebang(text)
	return line + variantHead + body + variantTail
}

// plainly is the body of the variant of a command that is no script.
const plainly = "return redis.call(unpack(ARGV))"

// asked is a command as it is sent to a master that is importing its slot.
type asked struct {
	original, sent redis.Cmder
	variant        *redis.Cmd // sent, when it is one
}

// askingFor returns a command as it is sent behind ASKING.
func (p *Pipes) askingFor(ctx context.Context, c redis.Cmder) asked {
	args := c.Args()
	name, _ := args[0].(string)
	switch {
	case name == "evalsha" || name == "eval":
		text, _ := args[1].(string)
		if name == "evalsha" {
			text = p.cfg.Script(text)
		}
		n, _ := args[2].(int)
		keys, rest := args[3:3+n], args[3+n:]
		first, _ := keys[0].(string)
		// That key makes the old master refuse the script. The next master has to run it.
		if last, _ := keys[n-1].(string); last == p.cfg.Never(first) {
			keys = keys[:n-1]
		}
		return vary(ctx, c, VariantOf(text), keys, rest)
	case len(args) > 2 && (name == "mget" || name == "del" || name == "unlink" || name == "exists"):
		return vary(ctx, c, VariantOf(plainly), args[1:2], args)
	}
	return asked{original: c, sent: c}
}

func vary(ctx context.Context, c redis.Cmder, text string, keys, rest []any) asked {
	args := append([]any{"eval", text, 1, keys[0], len(keys)}, keys...)
	cmd := redis.NewCmd(ctx, append(args, rest...)...)
	cmd.SetFirstKeyPos(3)
	return asked{original: c, sent: cmd, variant: cmd}
}

// answer gives the original its answer, and returns the pushes that those who subscribe at the other master have not heard.
func (a asked) answer(ctx context.Context) []redis.Cmder {
	if a.variant == nil {
		return nil
	}
	parts, err := a.variant.Slice()
	if err != nil || len(parts) != 2 {
		a.original.SetErr(err)
		return nil
	}
	// It still has the error that named the other master.
	a.original.SetErr(nil)
	failed, isErr := parts[0].(error)
	switch original := a.original.(type) {
	case *redis.Cmd:
		original.SetVal(parts[0])
		// A script that returns nothing is answered like that by go-redis.
		if parts[0] == nil {
			original.SetErr(redis.Nil)
		}
	case *redis.SliceCmd:
		list, _ := parts[0].([]any)
		original.SetVal(list)
	case *redis.IntCmd:
		n, _ := parts[0].(int64)
		original.SetVal(n)
	}
	if isErr {
		a.original.SetErr(failed)
	}
	var pushes []redis.Cmder
	pushed, _ := parts[1].([]any)
	for i := 0; i+1 < len(pushed); i += 2 {
		pushes = append(pushes, redis.NewIntCmd(ctx, "spublish", pushed[i], pushed[i+1]))
	}
	return pushes
}
