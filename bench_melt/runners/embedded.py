"""The embedded runner: llama.cpp's server out of the `xllamacpp` wheel, in a process of its own.

Run as `python -m bench_melt.runners.embedded MODEL ...`. It writes one line per stage,
`stage NAME`, then `listening HOST:PORT`, and serves until it is told to end (SIGTERM, SIGINT).
"""

import argparse
import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a model on a port of the loopback that the system picks."""
    wanted = _arguments(argv)
    _say("stage process")
    import xllamacpp

    _say("stage import")
    params = xllamacpp.CommonParams()
    params.model.path = wanted.model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = wanted.context
    params.n_batch = wanted.batch
    params.n_ubatch = wanted.ubatch
    params.n_parallel = wanted.parallel
    params.n_gpu_layers = wanted.gpu_layers
    params.cpuparams.n_threads = wanted.threads
    params.cpuparams_batch.n_threads = wanted.threads
    params.warmup = False  # the harness warms up, and times the first request when asked to
    server = xllamacpp.Server(params)
    _say("stage load")
    address: str = server.listening_address
    _say(f"listening {address.removeprefix('http://')}")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="embedded")
    parser.add_argument("model")
    for name, default in (
        ("threads", 1),
        ("context", 2048),
        ("batch", 512),
        ("ubatch", 512),
        ("parallel", 1),
        ("gpu-layers", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args(argv)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
