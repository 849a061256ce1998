# grpc.health.v1 on gRPC's own core (python3-grpcio): arguments are addresses to listen at, in the clear, within TLS, within
# TLS with another name's certificate, and without the health service.

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

# HealthCheckResponse.ServingStatus (grpc.health.v1), as protobuf: field 1, a varint.
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
STATES = {b"": SERVING, b"web": SERVING, b"db": NOT_SERVING, b"new": b""}


def check(request, context):
    # HealthCheckRequest: field 1, octets with their length before them.
    service = request[2:] if request else b""
    if service == b"stuck":
        time.sleep(60)
    if service not in STATES:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return STATES[service]


def read(name):
    with open(name, "rb") as file:
        return file.read()


def credentials(name):
    return grpc.ssl_server_credentials([(read(name + ".key"), read(name + ".pem"))])


plain, tls, other, without = sys.argv[1:]
handler = grpc.method_handlers_generic_handler(
    "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
)
serving = grpc.server(ThreadPoolExecutor(8))
serving.add_generic_rpc_handlers((handler,))
serving.add_insecure_port(plain)
serving.add_secure_port(tls, credentials("good"))
serving.add_secure_port(other, credentials("other"))
serving.start()
bare = grpc.server(ThreadPoolExecutor(1))
bare.add_insecure_port(without)
bare.start()
serving.wait_for_termination()
