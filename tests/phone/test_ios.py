"""An iPhone: `pymobiledevice3` itself against a usbmuxd of ours; only app launches are faked."""

import plistlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_melt.meters.ios import IosBatteryMeter
from bench_melt.targets.description import App, Connection, Description
from bench_melt.targets.ios import IosMachine
from tests.needs import package
from tests.usbmux_double import UDID, IPhone, Usbmuxd, usbmuxd
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.phone

BUNDLE = "org.example.Runner"


@pytest.fixture
def iphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Usbmuxd]:
    package("pymobiledevice3")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "iphone").mkdir()
    with usbmuxd(IPhone(tmp_path / "iphone")) as made:
        yield made


def machine_for(iphone: Usbmuxd, udid: str | None = UDID, ipa: Path | None = None) -> IosMachine:
    return IosMachine(
        Description(
            name="phone",
            summary="",
            kind="ios",
            tested="only in tests",
            app=App(bundle=BUNDLE, package=ipa),
            connection=Connection(address=udid, server=iphone.address),
        )
    )


def ipa_at(folder: Path, version: str = "1", bundle: str = BUNDLE) -> Path:
    path = folder / f"runner{version}.ipa"
    info = {
        "CFBundleIdentifier": bundle,
        "CFBundleVersion": version,
        "CFBundleShortVersionString": "1.0",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Payload/Runner.app/Info.plist", plistlib.dumps(info))
    return path


def test_what_an_iphone_is(iphone: Usbmuxd) -> None:
    with machine_for(iphone) as machine:
        info = machine.probe()
    assert info.os_build == "iOS 17.4.1 (21E236), iPhone15,2"
    assert (info.cpu_info, info.architecture) == ("t8120", "arm64e")
    assert (info.memory_bytes, info.cores_max_hz) == (None, ())


def test_the_battery_and_nothing_that_is_not_told(iphone: Usbmuxd) -> None:
    with machine_for(iphone) as machine:
        state = machine.state()
        assert (state.battery_percent, state.battery_mah, state.charging) == (76.0, 2391.0, False)
        assert state.temperatures_c == {"battery": 29.4}
        assert (state.thermal_status, state.governor, state.cpu_hz) == (None, None, ())
        iphone.phone.battery = None
        state = machine.state()
        assert (state.battery_percent, state.battery_mah, state.charging) == (None, None, None)
        assert state.hottest_c() is None


def test_the_app_is_installed_once_per_version(iphone: Usbmuxd, tmp_path: Path) -> None:
    with machine_for(iphone, ipa=ipa_at(tmp_path)) as machine:
        machine.probe()
        assert (iphone.phone.installs, iphone.phone.apps[BUNDLE]["CFBundleVersion"]) == (1, "1")
        assert machine.deploy(ipa_at(tmp_path)) == BUNDLE
        assert iphone.phone.installs == 1
        machine.deploy(ipa_at(tmp_path, "2"))
        assert (iphone.phone.installs, iphone.phone.apps[BUNDLE]["CFBundleVersion"]) == (2, "2")
        iphone.phone.install_error = "ApplicationVerificationFailed"
        with pytest.raises(DeviceError, match="installing 'runner3.ipa' failed: ApplicationVerif"):
            machine.deploy(ipa_at(tmp_path, "3"))


def test_files_of_the_container(iphone: Usbmuxd, tmp_path: Path) -> None:
    iphone.phone.apps[BUNDLE] = {}
    source = tmp_path / "model.gguf"
    source.write_bytes(bytes(range(256)) * 20_000)  # more than one of its chunks
    container = iphone.phone.folder / "containers" / BUNDLE
    with machine_for(iphone) as machine:
        path = machine.deploy(source)
        assert path.startswith("Documents/bench-melt/") and path.endswith("/model.gguf")
        assert (container / path).read_bytes() == source.read_bytes()
        stamp = (container / path).stat().st_mtime_ns
        assert machine.deploy(source) == path
        assert (container / path).stat().st_mtime_ns == stamp
        (container / path).write_bytes(b"cut off")
        machine.deploy(source)
        assert (container / path).read_bytes() == source.read_bytes()
        machine.collect(path, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()
        with pytest.raises(DeviceError, match=f"app '{BUNDLE}' has no file 'Documents/none'"):
            machine.collect("Documents/none", tmp_path / "none")
        assert not (tmp_path / "none").exists()


def test_no_space_on_the_iphone(iphone: Usbmuxd, tmp_path: Path) -> None:
    iphone.phone.apps[BUNDLE] = {}
    iphone.phone.free_bytes = 1000
    source = tmp_path / "model.gguf"
    source.write_bytes(bytes(5000))
    told = pytest.raises(DeviceError, match=r"'model.gguf': it has 5,000 B, free are 1,000 B")
    with machine_for(iphone) as machine, told:
        machine.deploy(source)


def test_without_the_app(iphone: Usbmuxd, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"x")
    told = pytest.raises(DeviceError, match="has not the runner app: .*install it with Xcode")
    with machine_for(iphone) as machine, told:
        machine.deploy(source)


def test_what_ios_cannot(iphone: Usbmuxd) -> None:
    with machine_for(iphone) as machine:
        with pytest.raises(DeviceError, match="iOS pins no app to cores: leave out 'cores'"):
            machine.start([BUNDLE], cores=[0])
        with pytest.raises(DeviceError, match="iOS runs installed apps only, not 'llama-server'"):
            machine.start(["llama-server"])
        with pytest.raises(DeviceError, match="iOS runs no commands, so not 'uname' either"):
            machine.run(["uname"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"udids": []}, f"iPhone '{UDID}' is not connected; connected: none"),
        ({"udids": ["A"]}, f"iPhone '{UDID}' is not connected; connected: 'A' \\(USB\\)"),
        ({"trusted": False}, "does not trust this computer yet: unlock it and tap 'Trust'"),
        (
            {"trusted": False, "pair_answer": "UserDeniedPairing"},
            "was told not to trust this computer",
        ),
    ],
)
def test_an_iphone_that_cannot_be_used(
    iphone: Usbmuxd, changes: dict[str, object], message: str
) -> None:
    for name, value in {**changes, "public_key": public_key()}.items():
        setattr(iphone.phone, name, value)
    with machine_for(iphone) as machine, pytest.raises(DeviceError, match=message):
        machine.probe()


def public_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.PKCS1)


def test_none_or_several_and_none_named(iphone: Usbmuxd) -> None:
    iphone.phone.udids[:] = ["A", "B"]
    with pytest.raises(DeviceError, match="2 iPhones are connected: 'A' .USB., 'B' .*address"):
        machine_for(iphone, None).probe()
    iphone.phone.udids.clear()
    with pytest.raises(DeviceError, match="no iPhone is connected; plug it in, unlock it"):
        machine_for(iphone, None).probe()
    iphone.phone.udids.append(UDID)
    with machine_for(iphone, None) as machine:
        machine.probe()
    with machine_for(iphone, UDID.replace("-", "")) as machine:
        machine.probe()


def test_no_usbmuxd(iphone: Usbmuxd, tmp_path: Path) -> None:
    iphone.address = "127.0.0.1:9"
    with pytest.raises(
        DeviceError, match="no usbmuxd answers at 127.0.0.1:9 .*install package usb"
    ):
        machine_for(iphone).probe()


def test_a_locked_iphone(iphone: Usbmuxd) -> None:
    iphone.phone.locked = True
    told = pytest.raises(DeviceError, match="is locked: unlock it .during reading its battery")
    with machine_for(iphone) as machine, told:
        machine.state()


def test_unplugged_in_the_middle(iphone: Usbmuxd, tmp_path: Path) -> None:
    iphone.phone.apps[BUNDLE] = {}
    with machine_for(iphone) as machine:
        machine.probe()
        iphone.unplug()
        with pytest.raises(DeviceError, match=f"iPhone '{UDID}' .machine 'phone'. is gone, during"):
            machine.state()
        with pytest.raises(
            DeviceError, match="is gone, during fetching|is gone, during looking at"
        ):
            machine.collect("Documents/x", tmp_path / "x")


def test_a_package_that_is_none(iphone: Usbmuxd, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="add \\[app\\] with bundle"):
        IosMachine(Description(name="p", summary="", kind="ios", tested="only in tests"))
    other = ipa_at(tmp_path, bundle="org.other")
    broken = tmp_path / "broken.ipa"
    broken.write_bytes(b"PK")
    empty = tmp_path / "empty.ipa"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("x", "y")
    with machine_for(iphone) as machine:
        for path, message in (
            (other, f"holds app 'org.other', machine 'phone' wants '{BUNDLE}'"),
            (broken, "is no app package \\(.ipa\\)"),
            (empty, "holds no Payload/\\*.app/Info.plist"),
        ):
            with pytest.raises(UserError, match=message):
                machine.deploy(path)


def test_the_battery_as_a_meter(iphone: Usbmuxd) -> None:
    with machine_for(iphone) as machine:
        meter = IosBatteryMeter(machine.battery)
        assert meter.read() == (1_700_000_000.0, 4.012, 0.512)
        assert meter.read() is None  # the phone has not refreshed it
