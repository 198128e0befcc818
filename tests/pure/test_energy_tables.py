"""Recordings and logs that are wrong: one message, with the number of the line."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from bench_melt.energy.events import Event, pair, read_events
from bench_melt.energy.samples import read_samples
from tinyengine.errors import UserError

HEAD = "time_s,voltage_v,current_a\n"
LOG = "time_s,phase,edge\n"


def samples_file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "samples.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line must be 'time_s,voltage_v,current_a'"),
        (HEAD, "0 rows of data"),
        (HEAD + "0,1,1\n", "1 rows of data"),
        ("0,1,1\n1,1,1\n", "line 1: no column 'time_s'"),
        ("time,voltage_v,current_a\n0,1,1\n", r"no column 'time_s' \('time' is not it\)"),
        ("time_s,voltage_v,current_a,time_s\n0,1,1,0\n", "'time_s' appears twice"),
        (HEAD + "0,1,1\n1,nan,1\n", "line 3: voltage_v is nan"),
        (HEAD + "0,1,1\n\n1,1,inf\n", "line 4: current_a is inf"),
        (HEAD + "0,1,1\n1,x,1\n", "line 3: voltage_v is 'x', not a number"),
        (HEAD + "0,1,1\n1,,1\n", "line 3: voltage_v is '', not a number"),
        (HEAD + "0,1,1\n1,1\n", "line 3: 2 fields, no 'current_a' among them"),
        (HEAD + "0,1,1\n2,1,1\n1.5,1,1\n", r"line 4: time_s goes back from 2\.0 to 1\.5"),
        (HEAD + "0,1,1\n1,1e300,1e300\n", "line 3: voltage_v x current_a is beyond"),
        (HEAD + '0,1,1\n1,"1,1\n', "samples '.*' line 3"),
        (b"\xff\xfe\x00\x01", "is not a text file"),
        (HEAD.encode() + b"0,1,1\n1,\xff,1\n", "is not a text file"),
        (HEAD + "0,1,1\n1,1,1\x00\n", "line 3"),
    ],
)
def test_samples(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_samples(samples_file(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read samples '.*': No such file"):
        read_samples(tmp_path / "absent.csv")
    with pytest.raises(UserError, match="cannot read events '.*': Is a directory"):
        read_events(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "0,2,3\n0.1,2,4\n",
        "\ufeff" + HEAD + "0,2,3\r\n0.1,2,4\r\n\r\n",
        "current_a,note,time_s,voltage_v\n3,,0,2\n4,x,0.1,2\n",
        '"time_s","voltage_v","current_a"\n"0"," 2","3"\n1e-1,2.0,+4',
    ],
)
def test_samples_that_are_right(text: str, tmp_path: Path) -> None:
    samples = read_samples(samples_file(tmp_path, text))
    np.testing.assert_array_equal(samples.time_s, [0.0, 0.1])
    np.testing.assert_array_equal(samples.power_w, [6.0, 8.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (LOG, "has no rows"),
        ("time_s,name,edge\n", "no column 'phase'"),
        (LOG + "0,a,begin\n", "line 2: edge is 'begin'; it must be 'start' or 'end'"),
        (LOG + "0, ,start\n", "line 2: the phase has no name"),
        (LOG + "zero,a,start\n", "line 2: time_s is 'zero', not a number"),
        (LOG + "nan,a,start\n", "line 2: time_s is nan"),
        (LOG + "0,a,start\n", r"'a', started at 0 s \(line 2\), never ends"),
        (LOG + "0,a,end\n", r"'a' ends at 0 s \(line 2\) without having started"),
        (LOG + "1,a,start\n0,a,end\n", r"'a' ends at 0 s \(line 3\) without having started"),
        (LOG + "1,a,start\n1,a,end\n", r"'a' starts and ends at 1 s \(line 3\)"),
        (LOG + "0,a,start\n1,a,start\n2,a,end\n", r"'a' starts at 1 s \(line 3\) while it runs"),
        (
            LOG + "0,a,start\n1,b,start\n2,a,end\n3,b,end\n",
            r"'b' starts at 1 s \(line 3\) before 'a', .*\(line 2\), ends at 2 s \(line 4\)",
        ),
        (LOG + "0,a,start\n1,b,start\n2,b,end\n3,a,end\n", "may neither overlap nor nest"),
        (LOG + "0,sync,start\n1,sync,end\n2,sync,start\n", "'sync', started at 2 s .* never ends"),
        (LOG + "0,a,start\n1,sync,start\n2,sync,end\n3,a,end\n", "neither overlap nor nest"),
    ],
)
def test_events(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_events(path)


def test_events_in_any_order_and_phases_that_touch(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(
        LOG + "2,a,end\n1,a,start\n2,b,start\n3,b,end\n3,a,start\n4,a,end\n0,sync,start\n"
    )
    events = read_events(path)
    assert [(p.name, p.start_s, p.end_s) for p in events.phases] == [
        ("a", 1.0, 2.0),
        ("b", 2.0, 3.0),
        ("a", 3.0, 4.0),
    ]
    assert [(m.start_s, m.end_s, m.line) for m in events.marks] == [(0.0, None, 8)]


@pytest.mark.parametrize("seed", range(5))
def test_phases_of_one_name_that_touch_in_any_order(seed: int, tmp_path: Path) -> None:
    rows = [f"{k + side},a,{edge}" for k in range(4) for side, edge in ((0, "start"), (1, "END"))]
    np.random.default_rng(seed).shuffle(rows)
    path = tmp_path / "events.csv"
    path.write_text(LOG + "\n".join(rows))
    found = [(p.start_s, p.end_s) for p in read_events(path).phases]
    assert found == [(k, k + 1) for k in range(4)]


@pytest.mark.parametrize("other", ["a", "b"])
@pytest.mark.parametrize("late_s", [0.1 + 0.2, 0.3000009])
def test_phases_that_touch_but_for_rounding(other: str, late_s: float) -> None:
    """0.1 + 0.2 is more than 0.3, and that is no overlap."""
    assert late_s > 0.3
    first = [Event(0.1, "a", "start"), Event(late_s, "a", "end")]
    second = [Event(0.3, other, "start"), Event(0.4, other, "end")]
    assert len(pair(first + second).phases) == 2
    late = [Event(0.299, other, "start"), Event(0.4, other, "end")]
    with pytest.raises(UserError, match="neither overlap nor nest|while it runs"):
        pair(first + late)


def test_recordings_that_gzip_compressed(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv.gz"
    path.write_bytes(gzip.compress((HEAD + "0,2,3\n0.1,2,4\n").encode()))
    np.testing.assert_array_equal(read_samples(path).power_w, [6.0, 8.0])
    path.write_bytes(gzip.compress((HEAD + "0,2,3\n" * 999).encode())[:-20])
    with pytest.raises(UserError, match="samples.csv.gz': its compressed data is damaged"):
        read_samples(path)
    path.write_bytes(HEAD.encode())
    with pytest.raises(UserError, match=r"cannot read samples '.*': Not a gzipped file"):
        read_samples(path)


def test_a_recording_of_power_alone(tmp_path: Path) -> None:
    samples = read_samples(samples_file(tmp_path, "power_w,time_s\n5,0\n6,1\n"))
    assert samples.power_w.tolist() == [5.0, 6.0] and samples.voltage_v is None
    with pytest.raises(UserError, match="line 3: power_w is nan"):
        read_samples(samples_file(tmp_path, "power_w,time_s\n5,0\nnan,1\n"))


def test_a_mark_of_no_length_is_a_step() -> None:
    events = pair([Event(1.0, "sync", "start", 2), Event(1.0, "sync", "end", 3)])
    assert events.marks[0].end_s is None
