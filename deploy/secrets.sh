#!/usr/bin/env bash
# Makes the secrets of docker-compose.yml, once, in deploy/secrets. Nobody else
# on this machine can enter the folder; the files are readable for the user of
# the containers, which is not yours.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

mkdir -p secrets
chmod 700 secrets
secret() { # secret NAME COMMAND...
	local name=$1
	shift
	[[ -s secrets/$name ]] && return
	"$@" >"secrets/$name.new"
	chmod 444 "secrets/$name.new"
	mv "secrets/$name.new" "secrets/$name"
	echo "made deploy/secrets/$name"
}
key() { # key PREFIX
	local random
	random=$(openssl rand -hex 32)
	printf '%s%s' "$1" "$random"
}
secret internal_key key ""
secret api_key key tlk_backend_
secret token_key openssl genpkey -algorithm ed25519
