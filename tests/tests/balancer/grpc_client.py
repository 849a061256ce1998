# A client of gRPC's own core (python3-grpcio), at a balancer: arguments are its address, its CA, and `served` or `gone`.

import queue
import sys

import grpc

address, ca, how = sys.argv[1:]
with open(ca, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
channel = grpc.secure_channel(address, credentials, (("grpc.ssl_target_name_override", "www.example.com"),))
PATIENCE = 30


def check(what, found, wanted):
    if found != wanted:
        sys.exit(f"{what}: found {found!r:.300}, wanted {wanted!r:.300}")


def error(what, call, code):
    try:
        found = call()
    except grpc.RpcError as error:
        check(what, error.code(), code)
        return error
    sys.exit(f"{what}: found {found!r}, wanted {code}")


unary = channel.unary_unary("/t.T/Unary")
if how == "gone":
    gone = error("gone", lambda: unary(b"", timeout=PATIENCE), grpc.StatusCode.UNAVAILABLE)
    check("who says so", gone.details()[:24], "503 Service Unavailable:")
    sys.exit()

# One call, small, empty and large, with what goes before and behind.
for body in (b"hello", b"", b"x" * 3_000_000):
    reply, call = unary.with_call(body, timeout=PATIENCE, metadata=(("x-own", "1"), ("x-own-bin", b"\0\xff,")))
    check("unary", reply, body)
    metadata = dict(call.initial_metadata())
    check("before", (metadata["x-seen"], metadata["x-seen-bin"]), ("1", b"\0\xff,"))
    check("behind", dict(call.trailing_metadata()), {"x-after": "kept"})
    check("code", call.code(), grpc.StatusCode.OK)

# Many at once.
calls = [unary.future(b"%d" % number, timeout=PATIENCE) for number in range(300)]
check("many", [call.result() for call in calls], [b"%d" % number for number in range(300)])

# A stream down, and one up.
down = channel.unary_stream("/t.T/Download")(b"500 10000", timeout=PATIENCE)
check("download", [len(reply) for reply in down], [10000 + len(str(number)) for number in range(500)])
check("nothing", list(channel.unary_stream("/t.T/Download")(b"0 0", timeout=PATIENCE)), [])
up = channel.stream_unary("/t.T/Upload")((b"." * 10000 for _ in range(500)), timeout=PATIENCE)
check("upload", up, b"5000000")

# Each word is answered before the next is said.
words = queue.Queue()
replies = channel.stream_stream("/t.T/Talk")(iter(words.get, None), timeout=PATIENCE)
for number in range(100):
    words.put(b"%d" % number)
    check("talk", next(replies), b"re: %d" % number)
words.put(None)
check("talk", list(replies), [])

# Errors, with what is told of them.
failed = error("fail", lambda: channel.unary_unary("/t.T/Fail")(b"", timeout=PATIENCE), grpc.StatusCode.FAILED_PRECONDITION)
check("details", failed.details(), "50 % is n\u00f6t enough")
check("more", dict(failed.trailing_metadata())["grpc-status-details-bin"], b"\x08\x09\x12\x02no")
error("nothing there", lambda: channel.unary_unary("/t.T/Nothing")(b"", timeout=PATIENCE), grpc.StatusCode.UNIMPLEMENTED)

# One that is over before all of the request is there.
words = queue.Queue()
words.put(b"one")
refused = error("refuse", lambda: channel.stream_unary("/t.T/Refuse")(iter(words.get, None), timeout=PATIENCE),
                grpc.StatusCode.RESOURCE_EXHAUSTED)
check("refused", refused.details(), "enough")
words.put(None)

# Who takes a call back is heard at the server, and so is one whose time is up.
hang, hung = channel.unary_unary("/t.T/Hang"), channel.unary_unary("/t.T/Hung")
taken_back = hang.future(b"", timeout=PATIENCE)
check("begun", hung(b"begun", timeout=PATIENCE), b"yes")
taken_back.cancel()
check("left", hung(b"left", timeout=PATIENCE), b"yes")
error("late", lambda: hang(b"", timeout=0.5), grpc.StatusCode.DEADLINE_EXCEEDED)
check("begun", hung(b"begun", timeout=PATIENCE), b"yes")
check("left", hung(b"left", timeout=PATIENCE), b"yes")
