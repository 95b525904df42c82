"""What a training says: rows that fit, a bar of the whole run, one output of a notebook."""

import itertools
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress

from jaxvae.training import notebook, table
from jaxvae.training.monitor import Monitor, Standing
from jaxvae.training.reporting import Reporter

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38)[0-9;]*m")


def row(epoch=1, loss=299.2, kl=5.55, member=0, **more):
    terms = {"loss": loss, "recon": loss - kl, "kl": kl}
    return {
        "member": member,
        "epoch": epoch,
        "step": epoch * 44,
        **{f"train_{name}": value for name, value in terms.items()},
        **{f"val_{name}": value for name, value in terms.items()},
        "val_mse": 0.0123,
        "learning_rate": 1e-3,
        "grad_norm": 77.3,
        "seconds": 0.13,
        "images_per_second": 9718.0,
        "finite": 1,
        **more,
    }


def standing(best_epoch):
    return Standing(Monitor(best_loss=1.0, best_epoch=best_epoch))


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-2000, 2000)


@given(
    width=st.integers(24, 220),
    losses=st.lists(NUMBERS, min_size=1, max_size=5),
    kls=st.lists(NUMBERS, min_size=5, max_size=5),
    epochs=st.sampled_from([1, 12, 300, 100_000]),
    own=st.dictionaries(st.sampled_from(["val_l1", "val_total_correlation"]), NUMBERS),
)
def test_rows_fit_and_end_where_the_header_ends(width, losses, kls, epochs, own):
    """Whatever the numbers are: the first row chooses columns, and later ones keep to them."""
    rows = [row(i + 1, x, kl, **own) for i, (x, kl) in enumerate(zip(losses, kls, strict=False))]
    chosen = table.fit(table.of_run(rows[0], standing(1), epochs), width)
    assert len(chosen.header) <= width
    for each in rows:
        line = chosen.row(table.of_run(each, standing(1), epochs))
        assert len(line) == len(chosen.header)
        for column in chosen.columns:
            begin, end = chosen.span(column.title)
            assert chosen.header[begin:end] == column.title.rjust(column.width)
            assert line[begin:end] == line[begin:end].rstrip() or column.title == "*"
            assert line[end : end + 2].strip() == ""


@pytest.mark.parametrize(
    "value, decimals", [(299.2, 2), (8021.0, 2), (46.1, 3), (0.0123, 6), (1e-9, 6), (-1523.2, 2)]
)
def test_decimals_show_five_digits_and_stay(value, decimals):
    assert table.decimals_of([value]) == decimals
    chosen = table.fit(table.of_run(row(1, value, kl=0.0), standing(1), 9), 200)
    (column,) = (c for c in chosen.columns if c.title == "val loss")
    for later in (value, value / 3, 0.0, -value):
        assert re.fullmatch(rf"-?\d+\.\d{{{decimals}}}", column.written(later).strip())
    assert column.written(-1.2345e30).strip().startswith("-1.2")  # no room for its digits


def columns_at(width, **own):
    chosen = table.fit(table.of_run(row(**own), standing(1), 100), width - 1)
    return [column.title for column in chosen.columns], chosen.left_out


def test_which_columns_fit():
    usual = ["epoch", "train loss", "val loss", "*", "val recon", "val kl", "seconds"]
    titles, left_out = columns_at(80, val_l1=3.2)
    assert [t for t in titles if t in usual] == usual and "val l1" in titles and left_out == ()
    titles, left_out = columns_at(60, val_l1=3.2, val_perplexity=112.0)
    assert titles[:4] == ["epoch", "train loss", "val loss", "*"]
    assert set(left_out) & {"val l1", "val perplexity"} and not set(left_out) & set(titles)
    titles, left_out = columns_at(200, val_l1=3.2)
    assert {"train recon", "train kl", "lr", "images/s", "grad norm", "val mse"} <= set(titles)
    assert left_out == ()


def test_an_autoencoder_has_no_kl_and_its_error_instead():
    titles, _ = columns_at(80, kl=0.0)
    assert "val mse" in titles and not any(title.endswith("kl") for title in titles)


def test_a_population_says_best_mean_and_worst_of_those_that_are_finite():
    rows = [row(3, loss, member=i) for i, loss in enumerate((300.0, 280.0, 320.0, 1e9))]
    failed = Standing(Monitor(best_epoch=2), failed_epoch=3)
    cells = table.of_members(rows, [standing(3), standing(3), standing(1), failed], 9)
    said = {cell.title: cell.value for cell in cells}
    assert (said["best"], said["member"], said["mean"], said["worst"]) == (280.0, "1", 300.0, 320.0)
    assert (said["improved"], said["finite"]) == ("2/4", "3/4")
    assert said["images/s"].strip() == f"{4 * 9718:,}"
    assert len(table.fit(cells, 79).header) <= 79


def trained(monkeypatch, capsys, columns, epochs=3, first=1, members=1, max_steps=None, **env):
    """What a training of so many epochs of 44 steps writes to stderr."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with Reporter(epochs, members=members, max_steps=max_steps) as reporter:
        reporter.say("words " * 30)
        for epoch in range(first, epochs + 1):
            reporter.start_epoch(epoch, 0, 44)
            reporter.advance(44, {"loss": 300.0}, 9718.0)
            rows = [row(epoch, 300.0 - epoch, member=i) for i in range(members)]
            reporter.end_epoch(rows, [standing(min(epoch, 2))] * members)
    return capsys.readouterr().err


def test_a_pipe_gets_plain_rows(monkeypatch, capsys):
    said = trained(monkeypatch, capsys, 80)
    words, header, *rows = said.splitlines()
    assert words == "words " * 30  # one line, which may be longer
    assert "\x1b" not in said and "━" not in said and "images/s" not in rows[0]
    assert len(rows) == 3 and {len(line) for line in rows} == {len(header)} and len(header) < 80
    assert [" * " in line for line in rows] == [True, True, False]
    assert [float(line.split()[1]) for line in rows] == [299.0, 298.0, 297.0]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_gets_rows_and_a_bar(monkeypatch, capsys, columns):
    said = trained(monkeypatch, capsys, columns, FORCE_COLOR="1", TERM="xterm-256color")
    assert COLOUR.search(said)
    lines = re.split(r"[\r\n]+", ANSI.sub("", said))
    assert max(len(line.rstrip()) for line in lines) <= columns
    bars = [line for line in lines if "step 44/44" in line]
    assert bars and all("epoch" in bar and "━" in bar and "0:00:0" in bar for bar in bars)
    assert ("loss 300.0" in bars[0]) == (columns >= 80) and ("images/s" in bars[0]) == (
        columns > 80
    )
    assert columns < 80 or bars[0].count("━") > columns / 4  # a bar that can be read


def test_the_best_epoch_is_in_colour_unless_none_is_wanted(monkeypatch, capsys):
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    assert "\x1b[1;32m  299.00\x1b[0m" in trained(monkeypatch, capsys, 80, **terminal)
    plain = trained(monkeypatch, capsys, 80, NO_COLOR="1", **terminal)
    assert not COLOUR.search(plain) and "━" in plain


def test_the_header_comes_again_before_it_is_out_of_sight(monkeypatch, capsys):
    terminal = {"FORCE_COLOR": "1", "TERM": "dumb", "LINES": "12"}
    said = ANSI.sub("", trained(monkeypatch, capsys, 80, epochs=20, **terminal))
    lines = said.splitlines()
    headers = [i for i, line in enumerate(lines) if "train loss" in line]
    assert len(headers) == 3 and all(b - a == 9 for a, b in itertools.pairwise(headers))
    assert "━" not in said  # TERM=dumb cannot move its cursor
    assert trained(monkeypatch, capsys, 80, epochs=60).count("train loss") == 1


def tasks(monkeypatch, capsys, **options):
    """The bar's tasks, as they were when the training had ended."""
    seen = []
    stop = Progress.stop
    monkeypatch.setattr(Progress, "stop", lambda self: (seen.extend(self.tasks), stop(self)))
    trained(monkeypatch, capsys, 80, **options)
    return seen


def test_the_bar_is_of_the_whole_run_and_goes_on_where_it_was(monkeypatch, capsys):
    (task,) = tasks(monkeypatch, capsys, epochs=10, first=8)
    assert (task.total, task.completed) == (440, 440)
    # Three epochs were taken here: the seven before a resumption say nothing of the speed.
    assert sum(sample.completed for sample in task._progress) == 3 * 44
    (task,) = tasks(monkeypatch, capsys, epochs=10, first=8, max_steps=400)
    assert task.total == 400


def test_a_population_names_the_mean(monkeypatch, capsys):
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    said = ANSI.sub("", trained(monkeypatch, capsys, 90, members=3, **terminal))
    assert "mean loss 300.0" in said and "improved" in said and "3/3" in said


def test_quiet_says_nothing(capsys):
    with Reporter(2, quiet=True) as reporter:
        reporter.say("a line")
        reporter.start_epoch(1, 0, 4)
        reporter.advance(4, {"loss": 1.0}, 1.0)
        reporter.end_epoch([row()], [standing(1)])
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def displayed(monkeypatch):
    """A kernel: what its cell would show, one entry for each output."""
    shown = []

    def display(bundle, raw, display_id):
        assert raw and display_id
        shown.append(bundle)
        place = len(shown) - 1
        return SimpleNamespace(update=lambda new, raw: shown.__setitem__(place, new))

    module = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


def test_a_notebook_has_one_output_that_is_replaced(monkeypatch, capsys, displayed):
    said = trained(monkeypatch, capsys, 200, epochs=30)
    assert said == ""
    (output,) = displayed
    words, header, *rows, last = output["text/plain"].splitlines()
    assert words.startswith("words") and header.startswith("epoch") and len(header) < notebook.WIDTH
    assert [int(line.split("/")[0]) for line in rows] == [*range(21, 31)]
    assert last.startswith("epoch 30/30, step 44/44, 0:00:0") and "to go" not in last
    html = output["text/html"]
    assert '<progress value="1320" max="1320"></progress>' in html
    assert html.count("<b>") == 0  # the best, of epoch 2, is not among the latest ten
    trained(monkeypatch, capsys, 200, epochs=3)
    assert displayed[1]["text/html"].count("<b>") == 2


def test_a_notebook_is_not_replaced_for_each_chunk(displayed, monkeypatch):
    updates = []
    monkeypatch.setattr(notebook.Notebook, "show", lambda self: updates.append(self._done))
    now = iter([0.0, 0.1, 0.2, 0.3])
    monkeypatch.setattr(notebook.time, "monotonic", lambda: next(now))
    view = notebook.Notebook()
    view._shown = 0.0
    for done in range(4):
        view.progress(done, 4, "")
    assert updates == [2, 3]  # 0.2 s and more after it was shown


def test_names_cannot_be_markup(displayed):
    view = notebook.Notebook()
    view.say("<script>alert(1)</script> of a & b")
    (output,) = displayed
    assert "<script>" not in output["text/html"] and "&lt;script&gt;" in output["text/html"]
    assert "<script>" in output["text/plain"]
