#!/usr/bin/env bash
# icechunk 1.1.21: where a service of S3 refuses a request with a status and no body (as proxies, gateways and answers to HEAD do), what is raised says nothing of the
# status: 403 (not allowed), 413 (too large), 507 (no room) and 400 give one text, letter for letter, of one class, with nothing of theirs in its attributes, and its
# chain of causes ends in "Error". obstore 0.12.1, on the same server, names the status. A code in the body (<Code>QuotaExceeded</Code>) is told by icechunk, at the
# end of that chain alone. So whether to wait, free space or give up can be told from a body and from nothing else.
# tamrf_xr/commits.py looks for codes there; tests/jobs/test_icechunk.py::test_service_that_takes_no_more_... holds that.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check icechunk==1.1.21 obstore==0.12.1
cat > "$folder/try.py" <<'PYTHON'
import http.server
import sys
import threading
from datetime import timedelta

import icechunk
import obstore
from obstore.store import S3Store

STATUSES = (400, 403, 413, 507)


class Refusing(http.server.BaseHTTPRequestHandler):
    def refuse(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.server.body)

    do_GET = do_PUT = do_POST = do_HEAD = refuse

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
keys = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
once = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}
plain = S3Store("bucket", endpoint=address, retry_config=once, client_options={"allow_http": True}, **keys)


def told(status, body=b""):
    """What either says of a request that is refused so."""
    server.status, server.body = status, body
    settings = icechunk.StorageSettings(retries=icechunk.StorageRetriesSettings(max_tries=1))
    config = icechunk.RepositoryConfig(storage=settings)
    storage = icechunk.s3_storage(bucket="bucket", prefix="p", endpoint_url=address, allow_http=True, force_path_style=True, **keys)
    said = []
    for ask in (lambda: icechunk.Repository.create(storage, config), lambda: obstore.put(plain, "x", b"x")):
        try:
            ask()
        except Exception as error:
            said.append((type(error).__name__, str(error), repr(error.__dict__)))
    return said


by_status = {status: told(status) for status in STATUSES}
alike = {said[0] for said in by_status.values()}
named = [str(status) in by_status[status][1][1] for status in STATUSES]
coded = told(400, b"<Error><Code>QuotaExceeded</Code><Message>no room</Message></Error>")[0][1]
print("icechunk", icechunk.__version__, "of", STATUSES, "says", len(alike), "thing, of causes the last:", next(iter(alike))[1].split("-> ")[-1].strip())
print("obstore", obstore.__version__, "names the status:", named, "icechunk, with a code in the body, last:", coded.split("-> ")[-1].strip())
digits = any(str(status) in text for _, text, _ in alike for status in STATUSES)
sys.exit(0 if len(alike) == 1 and not digits and all(named) and "QuotaExceeded" in coded.split("-> ")[-1] else 1)
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/try.py"
