"""One address for the stand-ins of SQS and DynamoDB, for functions that `sam local` runs in containers.

Usage: endpoint.py [--sqs URL] [--dynamodb URL] [--port PORT]
The stand-ins listen on 127.0.0.1, which in a container is the container itself; and the template lets `sam local` set one
endpoint for both services. So this listens where containers find their host as `host.docker.internal`, and hands each
call to the service that it names. Standard library only.
"""

import argparse
import errno
import http.client
import ipaddress
import json
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Queues answer a long poll within 20 seconds, tables far sooner.
CALL_SECONDS = 30
# More than a message or an item may hold, each in a batch of its largest size.
BODY_BYTES_MAX = 32 * 1024 * 1024
# Headers that belong to one connection, or are made anew.
OWN_HEADERS = {"connection", "content-length", "date", "expect", "host", "keep-alive", "server", "transfer-encoding"}


class Endpoint(ThreadingHTTPServer):
    """Listens on one address, and talks only to this machine and its containers."""

    daemon_threads = True

    def __init__(self, address, containers, services):
        self.containers = containers
        self.services = services
        super().__init__(address, Forward)

    def verify_request(self, request, client_address):
        # Another machine of the network could reach the bridge's address if it took this one for its router.
        peer = ipaddress.ip_address(client_address[0])
        return peer.is_loopback or peer in self.containers

    def handle_error(self, request, client_address):
        # A container that ends takes its connections with it.
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"endpoint: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


class Forward(BaseHTTPRequestHandler):
    """Hands one connection's calls on."""

    protocol_version = "HTTP/1.1"
    timeout = CALL_SECONDS

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        service = self.server.services.get(self.headers.get("X-Amz-Target", "").partition("_")[0].partition(".")[0])
        if service is None or length > BODY_BYTES_MAX:
            self.close_connection = True
            self.send_error(400, "neither a call of SQS nor one of DynamoDB, or too large")
            return
        body = self.rfile.read(length)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN_HEADERS}
        connection = http.client.HTTPConnection(service.hostname, service.port, timeout=CALL_SECONDS)
        try:
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except OSError as error:
            self.close_connection = True
            self.send_error(503, f"the stand-in does not answer: {error}")
            return
        finally:
            connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        # What the functions do with the answers is in their own logs.
        pass


def bridge():
    """The address that containers know as `host.docker.internal`, and the network that they come from."""
    command = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        config = json.loads(found)[0]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError) as error:
        sys.exit(f"cannot ask Docker for its bridge: {getattr(error, 'stderr', None) or error}")
    network = ipaddress.ip_network(config["Subnet"])
    # Docker names the gateway only where somebody has chosen it; otherwise it is the first address.
    return config.get("Gateway") or str(network[1]), network


def listen(port, services):
    """Listens on the bridge; where that belongs to another machine, as with Docker Desktop, on 127.0.0.1."""
    gateway, network = bridge()
    try:
        return Endpoint((gateway, port), network, services)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            sys.exit(f"cannot listen on {gateway}:{port}: {error.strerror}")
    return Endpoint(("127.0.0.1", port), network, services)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sqs", default="http://127.0.0.1:9324", type=urlsplit, help="where SQS is")
    parser.add_argument("--dynamodb", default="http://127.0.0.1:8000", type=urlsplit, help="where DynamoDB is")
    parser.add_argument("--port", default=9300, type=int, help="the port that events/env.json names")
    arguments = parser.parse_args()
    server = listen(arguments.port, {"AmazonSQS": arguments.sqs, "DynamoDB": arguments.dynamodb})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"ready on http://{server.server_address[0]}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
