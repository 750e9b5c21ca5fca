# What each page's commands find: bash reads this file before them, as BASH_ENV.
#
# A command that runs until it is stopped, such as trunkline serve, is started and waited for. It runs on until the page ends, or until the
# page starts another server.
unset BASH_ENV
set -euo pipefail

# __start KIND COMMAND... runs a command in a group of its own.
__start() {
	local kind=$1 log
	shift
	log=$(mktemp "$STATE/log.XXXXXX")
	setsid "$@" >"$log" 2>&1 &
	__pid=$!
	__log=$log
	echo "$__pid $kind $log $*" >>"$STATE/started"
}

# __fails says why, with what a command printed.
__fails() {
	echo "$1" >&2
	sed 's/^/    /' "$2" >&2
	return 1
}

# __until SECONDS WHAT COMMAND... waits for a command to succeed while what was started last runs.
__until() {
	local end=$((SECONDS + $1)) what=$2
	shift 2
	until "$@" >"$STATE/try" 2>&1; do
		kill -0 "$__pid" 2>/dev/null || { __fails "it has ended before $what" "$__log"; return 1; }
		((SECONDS < end)) || { __fails "not within the time: $what: $(<"$STATE/try")" "$__log"; return 1; }
		command sleep 0.05
	done
}

# __stop ends one that was started, as ^C does.
__stop() {
	kill -INT -- "-$1" 2>/dev/null || return 0
	local end=$((SECONDS + 20))
	while kill -0 -- "-$1" 2>/dev/null; do
		((SECONDS < end)) || { kill -KILL -- "-$1"; echo "it does not stop at ^C" >&2; return 1; }
		command sleep 0.02
	done
}

# __serve COMMAND... starts a server in place of the one before.
__serve() {
	local pid kind rest
	if [[ -e $STATE/started ]]; then
		while read -r pid kind rest; do [[ $kind != server ]] || __stop "$pid"; done <"$STATE/started"
		sed -i '/^[0-9]* server /d' "$STATE/started"
	fi
	__start server "$@"
	__until 30 "the server is ready" command trunkline health ready
	KEY=$(grep -oE 'tlk_dev_[A-Za-z0-9_-]+' "$__log" | head -1) || KEY=${KEY-}
	export KEY
}

trunkline() {
	case $1 in
	serve) __serve "$(type -P trunkline)" "$@" ;;
	sub | events)
		__start "$1" "$(type -P trunkline)" "$@"
		__until 10 "it follows" test -s "$__log"
		;;
	*) command trunkline "$@" ;;
	esac
}

# curl fails when the answer is a refusal. With -N it reads a stream until it is stopped; -D tells when the answer begins.
curl() {
	if [[ " $* " != *" -N "* ]]; then
		command curl --fail-with-body "$@"
		return
	fi
	local head
	head=$(mktemp -u "$STATE/head.XXXXXX")
	__start stream curl -sS -D "$head" "$@"
	__until 10 "the stream begins" test -s "$head"
	head -1 "$head" | grep -q ' 200' || __fails "the stream is refused" "$__log"
}

make() {
	if [[ $* == run ]]; then __serve make run; else command make "$@"; fi
}

# go compiles in the tree itself, with the files that the page has changed laid over it: nothing is compiled twice.
go() {
	git -C "$PWD" ls-files -mo --exclude-standard | jq -Rn --arg to "$TREE/" --arg from "$PWD/" \
		'{Replace: [inputs | {key: ($to + .), value: ($from + .)}] | from_entries}' >"$STATE/overlay.json"
	(cd "$TREE" && GOFLAGS=-overlay=$STATE/overlay.json command go "$@")
}

# __end is behind the last command: whatever the page started still runs, and a subscription has heard something.
__end() {
	local bad=0 kind rest log
	[[ -e $STATE/started ]] || return 0
	while read -r __pid kind __log rest; do
		kill -0 "$__pid" 2>/dev/null || { __fails "it has ended by itself: $rest" "$__log" || bad=1; }
		if [[ $kind == sub ]]; then
			__until 10 "a message arrives at $rest" grep -q '  channels/' "$__log" || bad=1
		fi
	done <"$STATE/started"
	while read -r __pid kind __log rest; do __stop "$__pid" || bad=1; done <"$STATE/started"
	return $bad
}
