"""The process of one peer: takes messages, answers with results.

    python -m bench.worker FD MODULE THREADS

======================================  ======================================================
message                                 answer
======================================  ======================================================
("version",)                            name and version
("layer", problem, direction)           names of the variants, which are kept
("inference", name, folder, batch)      the same, of a network; the folder has its state
("step", name, folder, batch)           the same, of a training step
("export", name, folder, batch)         None; writes the network's ONNX and ncnn files there
("exact", name, folder, batch)          the network's output, computed in float64
("time", variant, repeats, cold)        seconds of a call
("output", variant, images)             the result as an array; of the first images only
("memory", name, folder, batch, layout) bytes: the peak of three training steps, less imports
======================================  ======================================================
"""

from __future__ import annotations

import importlib
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from bench.resident import peak_over


def serve(line: Connection, peer: Any) -> None:
    """Answer messages until the line is cut."""
    calls: dict[str, Any] = {}
    flush: list[Any] = []

    def answer(kind: str, *rest: Any) -> Any:
        if kind == "version":
            return peer.version()
        if kind == "exact":
            return peer.exact(*rest)
        if kind == "memory":
            *what, layout = rest
            return peak_over(lambda: _steps(peer.step(*what, [layout])))
        if kind == "time":
            from pyconv.bench import Flush, seconds_of

            variant, repeats, cold = rest
            if cold and not flush:
                flush.append(Flush())
            return seconds_of(calls[variant], repeats, flush[0] if cold else None)
        if kind == "output":
            variant, images = rest
            result = peer.as_array(calls[variant]())
            return result if images is None else result[:images]
        calls.clear()
        if kind == "layer":
            from pyconv.bench import parse

            problem, direction = rest
            calls.update(peer.layer(parse(problem), direction))
        else:
            calls.update(getattr(peer, kind)(*rest) or {})
        return list(calls)

    while True:
        try:
            message = line.recv()
        except EOFError:
            return
        try:
            line.send((True, answer(*message)))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:300]
            line.send((False, f"{type(error).__name__} in {where.name}: {text}"))


def _steps(calls: dict[str, Any]) -> None:
    (call,) = calls.values()
    for _ in range(3):
        call()


class Absent:
    """In the place of a peer that can't be imported: says why, whatever is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


def main() -> None:
    descriptor, module, threads = sys.argv[1:]
    try:
        peer = importlib.import_module(f"bench.peers.{module}")
        peer.set_threads(int(threads))
    except Exception as error:
        peer = Absent(error)  # type: ignore[assignment]
    serve(Connection(int(descriptor)), peer)


if __name__ == "__main__":
    main()
