"""A thousand spoilt CSV files: each is read, or refused in one line; none hangs, crashes or leaves half a panel."""

import random
import warnings

import pytest

from moirai.errors import MoiraiError
from tasks.infer import infer_job
from tasks.ingest import ingest_source
from tasks.job import job_from_settings
from tasks.panel import read_panel
from tasks.transform import transform_panel

FILES, BATCHES = 1000, 20
LINES = [
    f"{'north' if n % 2 else 'south'},2024-01-{1 + n // 24:02d} {n % 24:02d}:00,{n * 1.5},{n % 7}" for n in range(96)
]
BASE = "\n".join(["shop,hour,sales,temp", *LINES]).encode() + b"\n"
TOKENS = [
    *(b"", b"nan", b"inf", b"-inf", b"1e999", b"1_000", b"0x1F", b"1,5", b"-0", b"+1", b"1e-400", b"True", b"=1+1"),
    *("٣".encode(), "½".encode(), "\u22121".encode(), "\u2028".encode(), b"\0", b"\xff\xfe", b"\xc3"),
    *(b'"', b'""', b"'", b"\\", b"\r", b"\r\n", b"\n\n", b";", b"\t", b",,,,"),
    *(b"2024-13-01", b"2024-02-30 25:00", b"now", b"NaT", b"1677-01-01", b"9999-12-31"),
    *(b"2024-01-01T00:00:00Z", b"2024-01-01 00:00+25:00", b"1" * 400, b"x" * 5000),
    *(b"../../etc/passwd", b"'; DROP TABLE runs;--"),
]


def spoil(rng):
    """The base file after one to five random accidents."""
    data = bytearray(BASE)
    for _ in range(rng.randint(1, 5)):
        place, length = rng.randrange(len(data) + 1), rng.choice([1, 3, 40, 800])
        match rng.randrange(8):
            case 0:  # a flipped bit
                data[min(place, len(data) - 1) :][:1] = b""
                data.insert(place, rng.randrange(256))
            case 1:  # lost bytes
                del data[place : place + length]
            case 2:  # repeated bytes
                data[place:place] = data[place : place + length]
            case 3:  # a foreign field
                data[place:place] = rng.choice(TOKENS)
            case 4:  # a field replaced
                fields = bytes(data).split(b",")
                fields[rng.randrange(len(fields))] = rng.choice(TOKENS)
                data = bytearray(b",".join(fields))
            case 5:  # the file was cut off
                del data[place:]
            case 6:  # lines in another order
                lines = bytes(data).split(b"\n")
                rng.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 7:  # another encoding
                data = bytearray(bytes(data).decode("latin-1").encode(rng.choice(["utf-16", "utf-8", "cp500"])))
        data = data or bytearray(b"\n")
    return bytes(data)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_spoilt_files_are_read_or_refused_in_one_line(batch, tmp_path):
    """`moirai init`, ingest and transform: the outcome is a result, or a sentence that names the file."""
    rng = random.Random(batch)  # noqa: S311 - no secret
    settings = {
        "name": "fuzz",
        "source": {"path": "data.csv"},
        "columns": {"timestamp": "hour", "item_id": "shop", "target": ["sales"], "checked": ["temp"]},
        "frequency": "h",
        "horizon": 4,
        "season": 4,
    }
    job = job_from_settings(settings, folder=tmp_path)
    for number in range(FILES // BATCHES):
        (tmp_path / "data.csv").write_bytes(spoil(rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                infer_job(tmp_path / "data.csv")
        except MoiraiError as error:
            is_one_line(error, number)
        before = panels(tmp_path)
        try:
            raw = ingest_source(job)
        except MoiraiError as error:
            is_one_line(error, number)
            assert panels(tmp_path) == before
            continue
        assert len(read_panel(raw)) == raw.rows
        try:
            transform_panel(job, raw, [])
        except MoiraiError as error:
            is_one_line(error, number)


def is_one_line(error, number):
    """The text is one printable line of bearable length that says where."""
    text = str(error)
    assert "\n" not in text, (number, text)
    assert len(text) < 2000, (number, text[:200])
    assert "data.csv" in text or "job " in text, (number, text)


def panels(folder):
    """What lies in the workspace, unfinished files included."""
    return sorted(path.name for path in (folder / "moirai-work").rglob("*"))
