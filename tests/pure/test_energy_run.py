"""`bench-melt run` with a meter, its reports, and `bench-melt energy` on what it kept."""

import json
from pathlib import Path

import pytest

from bench_melt.commands.energy import command as energy
from bench_melt.commands.report import Form
from bench_melt.commands.report import command as report
from bench_melt.commands.run import command as run
from bench_melt.energy import during
from bench_melt.meters.replay import CsvMeter
from bench_melt.packaged import PACKAGES
from bench_melt.rig import make_rig
from bench_melt.store import open_store
from bench_melt.suite import load_suite
from tests.fake_meters import needed
from tests.needs import package
from tests.pure.test_llm_server import double
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

MODEL = Path(__file__).resolve().parents[2] / "bench_melt/demo/gestures.tflite"
SUITE = """
[suite]
name = "joules"
repetitions = 1
warmups = 1

[[targets]]
name = "here"
machine = "local"
[targets.meter]
{meter}

[[models]]
name = "m"
path = "{model}"

[[workloads]]
kind = "llm"
name = "chat"
prompts = "short"
n_gen = 8
runner = {{ kind = "url", url = "http://{address}" }}
"""
SIMULATED = """
kind = "simulated"
idle_w = 0.5
phases = { prefill = 6.0, decode = 4.0 }
offset_s = 0.7
drift_ppm = 50
repeats = 6
loss = 0.02
noise_w = 0.02
idle_s = 0.2
mark_s = 0.1
"""


def suite_file(folder: Path, meter: str, address: str = "127.0.0.1:9") -> Path:
    path = folder / "suite.toml"
    path.write_text(SUITE.format(meter=meter, model=MODEL, address=address))
    return path


def test_joules_per_token_of_a_server_with_known_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Power follows the requests as they really went: what comes out can be told beforehand."""
    monkeypatch.setattr(during, "_QUIET_S", 0.1)
    monkeypatch.setattr(during, "_SETTLE_S", 0.0)
    db = str(tmp_path / "r.sqlite")
    with double("--first-s", "0.1", "--gaps-s", "0.02", "--slots", "1") as address:
        run(suite_file(tmp_path, SIMULATED, address), db)
    with open_store(db, create=False) as store:
        (row,) = store.rows()
    answers = json.loads(row["details"])["answers"]
    prefill_s = sum(answer["token_ms"][0] for answer in answers) / 1000
    decode_s = sum(a["token_ms"][-1] - a["token_ms"][0] for a in answers) / 1000
    assert row["energy_prefill_j"] == pytest.approx(6.0 * prefill_s, rel=0.01)
    assert row["energy_decode_j"] == pytest.approx(4.0 * decode_s, rel=0.01)
    # the double says 7 tokens of each prompt; the first of 8 generated ends the prefill
    assert row["j_per_token_prefill"] == pytest.approx(
        5.5 * prefill_s / (7 * len(answers)), rel=0.01
    )
    assert row["j_per_token_decode"] == pytest.approx(3.5 * decode_s / (7 * len(answers)), rel=0.01)
    assert row["idle_w"] == pytest.approx(0.5, rel=0.01)
    assert row["status"] == "ok" and row["decode_tokens_per_s"] > 0

    capsys.readouterr()
    kept = Path(row["samples_file"])
    energy(kept, kept.with_name(kept.name.replace(".csv.gz", ".events.csv")), as_json=True)
    phases = json.loads(capsys.readouterr().out)["phases"]
    again = sum(phase["energy_j"] for phase in phases if phase["phase"] == "decode")
    assert again == pytest.approx(row["energy_decode_j"], rel=1e-5)

    package("plotly")
    page = tmp_path / "page.html"
    report(db, Form.HTML, to=page)
    assert "Power and phases" in page.read_text() and "Speed against energy" in page.read_text()


def test_the_suite_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (MODEL.parents[2] / "docs/energy.md").read_text()
    section = page.partition("## Energy during a run")[2].partition("A repetition is then")[0]
    code = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))
    (tmp_path / "suite.toml").write_text(code)
    tables = load_suite(tmp_path / "suite.toml").tables
    (target,), (model,) = tables.targets, tables.models
    assert model.package in PACKAGES
    assert target.meter == {"kind": "rapl", "idle_s": 5.0, "sync": "load", "mark_s": 0.5}


@pytest.mark.parametrize(
    ("meter", "error", "words"),
    [
        ('kind = "csv"\nfile = "absent.csv"', UserError, r"cannot read samples '.*absent\.csv'"),
        ('kind = "csv"\nfile = "log.csv"', UserError, "no column 'time_s'"),
        ('kind = "hwmon"\nroot = "{folder}"', UserError, "no INA3221 or INA2xx below"),
        ('kind = "rapl"\nroot = "{folder}"', UserError, "no zone 'package' below"),
        (
            'kind = "ppk2"\nvoltage_v = 3.3\nport = "/dev/absent"',
            DeviceError,
            "cannot open the PPK",
        ),
    ],
)
def test_a_meter_that_is_not_there_is_told_before_the_sweep(
    tmp_path: Path, meter: str, error: type[Exception], words: str
) -> None:
    if "ppk2" in meter:
        needed("ppk2_api")
    (tmp_path / "log.csv").write_text("when,volts\n")
    path = suite_file(tmp_path, meter.replace("{folder}", str(tmp_path)))
    with pytest.raises(error, match=words):
        make_rig(load_suite(path))


def test_a_recording_that_grows_counts_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("time_s,voltage_v,current_a\n0,1,9\n1,1,9\n")
    meter = CsvMeter(path)
    meter.start()
    with path.open("a") as file:
        file.write("2,2,3\n3,2,4\n4,2,5\n5,2,0.1")  # the last line is being written
    assert meter.stop().power_w.tolist() == [6.0, 8.0, 10.0]
    meter.start()
    assert len(meter.stop()) == 6  # nothing was added: all of it is played back
    meter.start()
    with path.open("a") as file:
        file.write("7\n6,2,3\n")
    assert meter.stop().power_w.tolist() == pytest.approx([0.34, 6.0])
    meter.start()
    with path.open("a") as file:
        file.write("7,2,3\n")
    with pytest.raises(UserError, match="1 rows of data since line 8; two are the least"):
        meter.stop()
    with pytest.raises(DeviceError, match="was not started"):
        meter.stop()
