"""docs/performance.md says what docs/speeds.json has."""

from tests.scripts import DOCS, script

speeds = script("speeds")


def test_tables():
    text = (DOCS / "performance.md").read_text()
    for name, record in speeds.read().items():
        assert speeds.table(record["lines"]) in text, name
        assert all(line["losses_agree"] and not line["noisy"] for line in record["lines"]), name


def test_a_line_is_kept_as_it_was_found():
    """Median seconds 2 of 640 images; one contestant besides the loop."""
    loop = {"seconds": [1.0, 2.0, 4.0], "limit_share": 0.5, "peak_bytes": 3 * 2**20, "options": ""}
    tuned = loop | {"loop_is_times_as_fast": 1.254, "options": "compiled", "peak_bytes": 2**20}
    tuned["seconds"] = [3.0, 2.0, 2.0]
    line = {"title": "iwae", "batch_size": 64, "images": 640, "losses_agree": True, "noisy": []}
    kept = speeds.kept(line | {"contestants": {"loop": loop, "tuned": tuned}})
    assert kept["images_per_second"] == 320 and kept["tuned_by"] == "compiled"
    assert speeds.table([kept]).splitlines()[2] == (
        "| iwae | 64 | 320 | 1.25 (0.50 to 3.00) | 50 % | 3 | 1 |"
    )
