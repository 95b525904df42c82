"""The lists of `python -m tests.mutants` fit the source, and its page fits the lists."""

import re
from collections import Counter

from tests.mutants.__main__ import HEAD, NONE, PAGE, read_page
from tests.mutants.faults import ROOT, read_all

FAULTS = read_all()


def test_every_fault_can_be_planted():
    """Its text is there exactly once, and what comes of it is Python of another meaning."""
    sources = {path: (ROOT / path).read_text() for path in {fault.path for fault in FAULTS}}
    for fault in FAULTS:
        planted = fault.planted(sources[fault.path])  # raises where it is not
        code = compile(planted, fault.path, "exec", dont_inherit=True)
        assert code != compile(sources[fault.path], fault.path, "exec", dont_inherit=True), fault


def test_names_are_those_of_one_fault_and_tests_are_files():
    assert [name for name, n in Counter(f.name for f in FAULTS).items() if n > 1] == []
    for tests in {fault.tests for fault in FAULTS}:
        assert (ROOT / tests.split()[0]).exists(), tests


def test_the_page_has_rows_of_these_faults_alone():
    """And each says which test found the fault, or why none does."""
    assert HEAD in PAGE.read_text()
    rows = read_page()
    assert rows.keys() <= {fault.name for fault in FAULTS} and len(rows) >= 120
    assert not [name for name, row in rows.items() if row.found_by == NONE]


def test_the_tests_that_the_page_names_are_there():
    for name, row in read_page().items():
        if not row.found_by.startswith(NONE):
            file, test = re.findall(r"`(\S+)`", row.found_by)
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), name
