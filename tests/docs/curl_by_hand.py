"""A curl for machines that have none: the options our documents use, over httpx2. Run as a script."""

from __future__ import annotations

import argparse
import sys

import httpx2


def main(arguments: list[str]) -> int:
    """Send one request and print its answer; 7, as curl says, when nobody answers."""
    options = _read(arguments)
    headers = [tuple(part.strip() for part in header.split(":", 1)) for header in options.header]
    method = options.request or ("GET" if options.data is None else "POST")
    try:
        answer = httpx2.request(method, options.url, headers=headers, content=options.data)
    except httpx2.TransportError as fault:
        sys.stderr.write(f"curl: (7) {fault}\n")
        return 7
    if options.include:
        lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        sys.stdout.write("\r\n".join([*lines, "", ""]))
    sys.stdout.write(answer.text)
    return 0


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("-i", "--include", action="store_true")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("url")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
