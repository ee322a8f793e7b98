"""A small server on loopback, and a Keras home of the test's own."""
import hashlib
import http.server
import threading

import pytest


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('KERAS_HOME', str(tmp_path / '.keras'))
    (tmp_path / '.keras').mkdir()
    return tmp_path / '.keras'


@pytest.fixture
def served():
    """A function of a file's name and bytes that gives the address where it is served, and its md5."""
    files = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header('Content-Length', str(len(content or b'')))
            self.end_headers()
            self.wfile.write(content or b'')

        def log_message(self, *_):
            """Nothing is printed."""

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(name, content):
        files['/' + name] = content
        return f'http://127.0.0.1:{server.server_port}/{name}', hashlib.md5(content).hexdigest()
    yield serve
    server.shutdown()
    thread.join()
    server.server_close()
