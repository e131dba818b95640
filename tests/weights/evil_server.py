"""A server of our own that gives files as honest servers do, and as broken ones do."""

import re
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Answers in threads, over TLS where a context is given.

    Attributes:
        paths: a function of the handler that answers, for each path.
        seen: what was asked: method, path, headers.
        stopped: set at the end, so that an answer that waits can give up.
    """

    def __init__(self, context=None, server_name="127.0.0.1"):
        self.paths, self.seen, self.stopped = {}, [], threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.partition("?")[0]
                owner.seen.append((self.command, self.path, dict(self.headers)))
                self.close_connection = True
                with suppress(BrokenPipeError, ConnectionResetError):
                    owner.paths.get(path, status(404))(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.evil = self
        self.server.handle_error = lambda *words: None  # clients that hang up in a handshake
        scheme = "http"
        if context is not None:
            assert isinstance(context, ssl.SSLContext)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.base = f"{scheme}://{server_name}:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def serve(self, path, answer):
        """Answer a path; return its URL."""
        self.paths[path] = answer
        return self.base + path

    def headers(self, name, method="GET"):
        """Return one header of every request, None where it was not sent."""
        asked = [headers for verb, _, headers in self.seen if verb == method]
        return [{k.lower(): v for k, v in headers.items()}.get(name.lower()) for headers in asked]

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def status(code, headers=(), body=b""):
    """Answer with a status."""

    def answer(handler):
        handler.send_response(code)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return answer


def redirect(location, code=302):
    """Answer that the file is elsewhere."""
    return status(code, {"Location": location})


def in_turn(*answers):
    """Answer differently each time; the last answer stays."""
    left = list(answers)

    def answer(handler):
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


def with_token(token, answer, refusal=401):
    """Answer only who brings a token."""

    def asked(handler):
        brought = handler.headers.get("Authorization")
        (answer if brought == f"Bearer {token}" else status(refusal))(handler)

    return asked


def give(
    body,
    etag='"v1"',
    ranges=True,
    length=None,
    cut=None,
    stall=None,
    drip=None,
    modified="",
    chunked=False,
    headers=(),
    pieces=65536,
):
    """Answer with a file.

    Args:
        etag, modified: the validators that are sent; "" = none.
        ranges: honour Range and If-Range as RFC 9110 says.
        length: the Content-Length that is claimed; None = the true one, "" = none at all.
        cut: hang up after so many bytes of this answer.
        stall: fall silent after so many bytes of this answer.
        drip: (bytes, seconds): send so slowly.
        chunked: Transfer-Encoding in place of a length.
    """

    def answer(handler):
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        condition = handler.headers.get("If-Range")
        if ranges and asked and condition in (None, *(v for v in (etag, modified) if v)):
            start = int(asked[1])
            if start >= len(body):
                status(416, {"Content-Range": f"bytes */{len(body)}"})(handler)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        for name, value in {"ETag": etag, "Last-Modified": modified, **dict(headers)}.items():
            if value:
                handler.send_header(name, value)
        rest = body[start:]
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        elif length != "":
            handler.send_header("Content-Length", str(len(rest) if length is None else length))
        handler.send_header("Connection", "close")
        handler.end_headers()
        if handler.command != "HEAD":
            send(handler, rest)

    def send(handler, rest):
        step = drip[0] if drip else pieces
        for place in range(0, len(rest), step):
            piece = rest[place : place + step]
            for limit in (cut, stall):
                if limit is not None and place + len(piece) > limit:
                    piece = piece[: max(0, limit - place)]
            piece = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked and piece else piece
            handler.wfile.write(piece)
            if stall is not None and place + step >= stall:
                handler.server.evil.stopped.wait(20)
                return
            if cut is not None and place + step >= cut:
                handler.wfile.flush()
                with suppress(OSError):
                    handler.connection.shutdown(socket.SHUT_WR)
                return
            if drip and handler.server.evil.stopped.wait(drip[1]):
                return
        if chunked:
            handler.wfile.write(b"0\r\n\r\n")

    return answer
