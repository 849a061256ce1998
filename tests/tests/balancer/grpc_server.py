# A server of gRPC's own core (python3-grpcio), of a service that is octets: arguments are an address in the clear, one
# within TLS, and a certificate with its key.

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

begun, left = threading.Semaphore(0), threading.Semaphore(0)


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-seen", metadata.get("x-own", "")), ("x-seen-bin", metadata.get("x-own-bin", b""))))
    context.set_trailing_metadata((("x-after", "kept"),))
    return request


def download(request, context):
    count, size = map(int, request.split())
    for number in range(count):
        yield b"%d" % number + b"." * size


def upload(requests, context):
    return b"%d" % sum(map(len, requests))


def talk(requests, context):
    for request in requests:
        yield b"re: " + request


def fail(request, context):
    context.set_trailing_metadata((("grpc-status-details-bin", b"\x08\x09\x12\x02no"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "50 % is n\u00f6t enough")


# Answers before it has heard all, and hears no more.
def refuse(requests, context):
    next(requests)
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


def hang(request, context):
    over = threading.Event()
    context.add_callback(over.set)
    begun.release()
    over.wait()
    left.release()
    return b""


# How many have begun to hang, and have been let go, since this was asked last.
def hung(request, context):
    wanted = begun if request == b"begun" else left
    return b"yes" if wanted.acquire(timeout=10) else b"no"


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Download": grpc.unary_stream_rpc_method_handler(download),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Refuse": grpc.stream_unary_rpc_method_handler(refuse),
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "Hung": grpc.unary_unary_rpc_method_handler(hung),
}
plain, tls, pem = sys.argv[1:]
with open(pem, "rb") as file:
    both = file.read()
server = grpc.server(ThreadPoolExecutor(64))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
server.add_insecure_port(plain)
server.add_secure_port(tls, grpc.ssl_server_credentials([(both, both)]))
server.start()
server.wait_for_termination()
