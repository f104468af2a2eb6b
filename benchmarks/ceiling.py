"""What `danlu bench` itself can bear: chunks a second from a server that does not think.

    python -m benchmarks.ceiling [--streams 16] [--tokens 500] [--api chat]

The server is a process of its own and sends prepared bytes, each chunk by itself, as fast as the
client takes them. A measured server that stays far below this number was not held up by the load
generator.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from danlu.adapters.host.http import Http
from danlu.adapters.wire.frames import encode
from danlu.adapters.wire.sse import DONE, event
from danlu.cli.bench.asking import Asker
from danlu.cli.bench.dialects import DIALECTS, Wishes
from danlu.cli.bench.load import in_lanes
from danlu.cli.bench.prompts import Question
from danlu.cli.bench.sample import Sample

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n"


def main(argv: Sequence[str]) -> None:
    args = _arguments(argv)
    with fake_server(args.api, args.tokens) as url:
        runs = [asyncio.run(one_run(url, args)) for _ in range(args.rounds + 1)][1:]
    rates = [rate for rate, _ in runs]
    busy = statistics.median(share for _, share in runs)
    print(
        f"{args.api}, {args.streams} streams of {args.tokens} chunks: "
        f"{statistics.median(rates):.0f} chunks/s ({min(rates):.0f} – {max(rates):.0f}), "
        f"or {statistics.median(rates) / busy:.0f} a second of a core's time"
    )


async def one_run(url: str, args: argparse.Namespace) -> tuple[float, float]:
    """Chunks a second, and the share of a core that this process used."""
    samples: list[Sample] = []
    questions = [Question("go", args.tokens)] * args.streams
    async with Http() as http:
        asker = Asker(http, url, DIALECTS[args.api], Wishes("fake"))
        begun, used = time.perf_counter(), time.process_time()
        await in_lanes(questions, args.streams, asker.ask, samples)
        seconds, used = time.perf_counter() - begun, time.process_time() - used
    failed = [sample.error for sample in samples if not sample.ok]
    if failed:
        raise RuntimeError(failed[0])
    return sum(len(sample.texts) for sample in samples) / seconds, used / seconds


@contextmanager
def fake_server(api: str, tokens: int) -> Iterator[str]:
    """Its base URL."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs, api, tokens), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def _serve(told: Connection, api: str, tokens: int) -> None:
    asyncio.run(_serving(told, answer(api, tokens)))


async def _serving(told: Connection, chunks: list[bytes]) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in with_body.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        writer.write(HEAD)
        for chunk in chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()
            await asyncio.sleep(0)  # the others' turn: chunks leave one by one
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def answer(api: str, tokens: int) -> list[bytes]:
    """The chunks of one answer, of the size that real ones have."""
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    if api == "worker":
        frames = [{"text": "x" * n, "error_code": 0, "usage": usage} for n in range(1, tokens + 1)]
        return [encode(frame) for frame in (*frames, {**frames[-1], "finish_reason": "length"})]
    head = {"id": "chatcmpl-" + "a" * 22, "object": "chat.completion.chunk", "created": 1}
    said = {"index": 0, "delta": {"content": " word"}, "text": " word", "finish_reason": None}
    ended = {"index": 0, "delta": {}, "text": "", "finish_reason": "length"}
    chunks = [event({**head, "model": "fake", "choices": [said], "usage": None})] * tokens
    last = {**head, "model": "fake", "choices": [ended]}
    return [*chunks, event(last), event({**head, "choices": [], "usage": usage}), DONE]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--api", default="chat", choices=tuple(DIALECTS))
    parser.add_argument("--streams", default=16, type=int)
    parser.add_argument("--tokens", default=500, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
