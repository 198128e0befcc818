"""The runner app: launched through fakes of the developer services, reached through real usbmux."""

import asyncio
import http.server
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from bench_melt.rig import make_rig
from bench_melt.runner import sweep
from bench_melt.store import open_store
from bench_melt.suite import load_suite
from bench_melt.targets import ios_launch
from bench_melt.targets.ios import IosMachine
from bench_melt.targets.machine import Deadline, TimeLimitError, Usage
from bench_melt.workloads.llm.http import FAILURES
from tests.phone.test_ios import BUNDLE, ipa_at, iphone, machine_for
from tests.phone_rig import page, write_gguf
from tests.sweep_rig import Quiet
from tests.usbmux_double import UDID, Usbmuxd
from tinyengine.errors import DeviceError

pytestmark = pytest.mark.phone
__all__ = ["iphone"]


class FakeDeveloper:
    """In place of `ios_launch.Developer`; `alive` ends the app."""

    made: "list[FakeDeveloper]"

    def __init__(self, lockdown: Any, udid: str) -> None:
        self.udid, self.alive, self.told = udid, True, "hello\nready 1\nhalf"
        self.launched: tuple[object, ...] = ()
        self.made.append(self)

    async def launch(self, bundle: str, arguments: Sequence[str], env: Mapping[str, str]) -> int:
        self.launched = (bundle, list(arguments), dict(env))
        return 41

    async def pid_of(self, bundle: str) -> int:
        return 41 if self.alive else 0

    def output(self) -> str:
        return self.told

    async def close(self, pid: int) -> None:
        self.alive = False


@pytest.fixture
def developers(iphone: Usbmuxd, monkeypatch: pytest.MonkeyPatch) -> list[FakeDeveloper]:
    FakeDeveloper.made = []
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", iphone.address)
    monkeypatch.setattr(ios_launch, "Developer", FakeDeveloper)
    monkeypatch.setattr("bench_melt.targets.ios._LOOK_S", 0.0)
    return FakeDeveloper.made


@pytest.fixture
def machine(iphone: Usbmuxd) -> Iterator[IosMachine]:
    iphone.phone.apps[BUNDLE] = {}
    with machine_for(iphone) as made:
        made.probe()
        yield made


def test_the_app_is_launched_and_watched(
    machine: IosMachine, developers: list[FakeDeveloper]
) -> None:
    process = machine.start([BUNDLE, "--port", "8080"], env={"A": "b"})
    (developer,) = developers
    assert developer.launched == (BUNDLE, ["--port", "8080"], {"A": "b"})
    assert developer.udid == UDID
    assert process.wait_line("ready", Deadline(20)) == "ready 1"
    with pytest.raises(TimeLimitError, match="waiting for 'half' of app"):
        process.wait_line("half", Deadline(0.2))
    assert process.poll() is None and process.usage() == Usage()
    developer.alive = False
    assert process.wait(Deadline(20)) == -1  # how it ended is not told
    with pytest.raises(DeviceError, match="ended before it said 'x'; it said: hello | ready 1"):
        process.wait_line("x", Deadline(20))
    process.kill()


def test_stop_ends_the_app(machine: IosMachine, developers: list[FakeDeveloper]) -> None:
    machine.start([BUNDLE])
    machine.stop()
    assert not developers[0].alive
    machine.stop()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


def test_a_port_of_the_app_is_reached_through_usbmux(machine: IosMachine, iphone: Usbmuxd) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with machine.tunnel(server.server_port) as address:
            assert page(address) == b"here"
            assert page(address) == b"here"
        server.shutdown()
    with pytest.raises(FAILURES):
        page(address)


class Context:
    """An asynchronous context that remembers."""

    entered: "list[Context]"

    def __init__(self, *arguments: object, **named: object) -> None:
        self.arguments, self.named, self.is_open = arguments, named, False
        self.entered.append(self)

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.is_open = False


class Control(Context):
    """In place of ProcessControl."""

    killed = 0

    async def launch(self, bundle_id: str, **named: object) -> int:
        self.launched = (bundle_id, named)
        return 7

    async def process_identifier_for_bundle_identifier(self, app_bundle_identifier: str) -> int:
        return 7

    async def kill(self, pid: int) -> None:
        self.killed = pid

    async def __aiter__(self) -> Any:
        yield SimpleNamespace(message="one\n")
        yield SimpleNamespace(message="two")


@pytest.mark.parametrize(("version", "contexts"), [("17.4.1", 3), ("16.7", 2)])
def test_the_way_to_the_developer_services(
    monkeypatch: pytest.MonkeyPatch, version: str, contexts: int
) -> None:
    Context.entered = []
    for name in ("UserspaceRsdTunnel", "DvtProvider"):
        _same_call(getattr(ios_launch, name), name == "UserspaceRsdTunnel")
        monkeypatch.setattr(ios_launch, name, type(name, (Context,), {}))
    real = ios_launch.ProcessControl
    monkeypatch.setattr(ios_launch, "ProcessControl", Control)

    async def held() -> None:
        lockdown = SimpleNamespace(product_version=version)
        developer = ios_launch.Developer(lockdown, UDID)
        assert await developer.launch(BUNDLE, ["-x"], {"A": "b"}) == 7
        control = Context.entered[-1]
        assert isinstance(control, Control) and all(c.is_open for c in Context.entered)
        bundle, named = control.launched
        # what we say must be what the installed library takes
        inspect.signature(real.launch).bind(real, bundle, **named)
        assert named == {"arguments": ["-x"], "environment": {"A": "b"}}
        for method in ("process_identifier_for_bundle_identifier", "kill"):
            inspect.signature(getattr(real, method)).bind(real, "x")
        assert await developer.pid_of(BUNDLE) == 7
        await asyncio.sleep(0)
        assert developer.output() == "one\ntwo\n"
        await developer.close(7)
        await developer.close(7)
        assert control.killed == 7 and not any(c.is_open for c in Context.entered)

    asyncio.run(held())
    assert len(Context.entered) == contexts


def _same_call(real: type, tunnel: bool) -> None:
    """Bind what we say to what the installed library takes."""
    if tunnel:
        inspect.signature(real).bind(serial=UDID, remotepairing_fallback=False)
    else:
        inspect.signature(real).bind(object())


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("16.7", "offers no developer services: turn on its developer mode"),
        ("17.2", "is reached by no tunnel without root: iOS 17.4 or newer"),
    ],
)
def test_no_developer_services(
    iphone: Usbmuxd, monkeypatch: pytest.MonkeyPatch, version: str, message: str
) -> None:
    # the real library, up to the service that lockdownd does not start
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", iphone.address)
    iphone.phone.version = version
    told = pytest.raises(DeviceError, match=f"iPhone '{UDID}' .*{message}")
    with machine_for(iphone) as machine, told:
        machine.start([BUNDLE])


def test_a_tunnel_that_would_go_elsewhere(machine: IosMachine, iphone: Usbmuxd) -> None:
    with pytest.raises(DeviceError, match=f"set USBMUXD_SOCKET_ADDRESS={iphone.address}"):
        machine.start([BUNDLE])


SUITE = """
[suite]
name = "iphone"
repetitions = 1
warmups = 1
time_limit_s = 60.0

[[targets]]
name = "p"
machine = "iphone.toml"
connection = {{ address = "{udid}", server = "{server}" }}

[[models]]
name = "m"
path = "m.gguf"

[[workloads]]
kind = "llm"
name = "w"
n_prompt = 8
n_gen = 4
runner = {{ kind = "server", program = "{ipa}", args = ["{{model}}", "--port", "{{port}}"] }}
"""
MACHINE = f"""
name = "iphone"
summary = "an iPhone of these tests"
kind = "ios"
tested = "only in tests"
app = {{ bundle = "{BUNDLE}" }}
"""


def test_a_suite_over_an_iphone(
    iphone: Usbmuxd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything real but the launch: a process of this computer serves in the container."""
    program = Path(__file__).parent / "server_program.py"
    container = iphone.phone.folder / "containers" / BUNDLE

    class Local(FakeDeveloper):
        async def launch(
            self, bundle: str, arguments: Sequence[str], env: Mapping[str, str]
        ) -> int:
            argv = [sys.executable, str(program), *arguments]
            self.process = subprocess.Popen(argv, cwd=container)
            return 41

        async def close(self, pid: int) -> None:
            self.process.kill()
            self.process.wait()

    Local.made = []
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", iphone.address)
    monkeypatch.setattr(ios_launch, "Developer", Local)
    write_gguf(tmp_path / "m.gguf")
    (tmp_path / "iphone.toml").write_text(MACHINE)
    ipa = ipa_at(tmp_path).name
    text = SUITE.format(udid=UDID, server=iphone.address, ipa=ipa)
    (tmp_path / "suite.toml").write_text(text)
    suite = load_suite(tmp_path / "suite.toml")
    with open_store(f"sqlite:///{tmp_path / 'r.db'}", create=True) as store:
        watcher = Quiet()
        summary = sweep(suite, make_rig(suite), store, watcher, resume=False)
    (row,) = watcher.rows
    assert (summary.measured, row.outcome.reason) == (1, None)
    assert row.target.os_build == "iOS 17.4.1 (21E236), iPhone15,2"
    assert row.conditions.battery_percent_before == 76.0
    assert row.results.latency.generated_tokens == 4
    assert row.results.memory.memory_peak_bytes is None
    assert iphone.phone.installs == 1 and Local.made[0].process.poll() is not None
