"""Publishes to the audiences of a facility and reads what they keep, as the programs of the older system do.

Arguments: host:port of Redis, and publish or fetch.
"""
import sys

import redis

address, action = sys.argv[1:]
host, port = address.split(":")
db = redis.Redis(host=host, port=int(port))

PREFIX = "ws4redis"
EXPIRE = 3600


def keys(facility, broadcast=False, users=(), groups=(), sessions=()):
    names = ["broadcast:" + facility] if broadcast else []
    names += ["%s:%s:%s" % (kind, who, facility)
              for kind, all_of in (("group", groups), ("user", users), ("session", sessions)) for who in all_of]
    return [PREFIX + ":" + name for name in names]


def publish(names, message):
    for name in names:
        db.publish(name, message)
        db.setex(name, EXPIRE, message)


def pipelined(names, message):
    pipe = db.pipeline()  # MULTI
    for name in names:
        pipe.publish(name, message)
        pipe.setex(name, EXPIRE, message)
    pipe.execute()


def fetch(names):
    for name in names:
        message = db.get(name)
        if message is not None:
            return message
    return None


if action == "publish":
    for send, how in ((publish, "one by one"), (pipelined, "in a pipeline")):
        send(keys("unittest", broadcast=True), b"broadcast " + how.encode())
        send(keys("unittest", users=["john", "mary"]), b"user " + how.encode())
        send(keys("unittest", groups=["chatusers"]), b"group " + how.encode())
        send(keys("unittest", sessions=["abc"]), b"session " + how.encode())
else:
    for names in (keys("unittest", broadcast=True), keys("unittest", users=["john"]), keys("unittest", users=["mary"]),
                  keys("unittest", groups=["chatusers"]), keys("unittest", sessions=["abc"]), keys("nothing", broadcast=True)):
        print(repr(fetch(names)))
print("DONE")
