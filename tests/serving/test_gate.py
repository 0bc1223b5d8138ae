"""What the gate lets through."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kdmatch.cli import app
from kdmatch.errors import UserError
from kdmatch.serving.gate import GateLimits, gate

ROWS = pa.table(
    {
        "query": ["abcd"] * 6,
        "document": ["d" * (length + 1) for length in range(6)],
        "label": [1.0, 1.0, 0.0, 1.0, 0.0, None],
    }
)
# Scores of such a model are timed, not judged, here: a ratio means nothing on a busy machine.
LIMITS = {"seconds": 0.0, "documents": 3, "latency_ratio": float("inf")}


@pytest.fixture(scope="module")
def versions(save_model, tmp_path_factory):
    base = tmp_path_factory.mktemp("gate") / "tiny"
    for version, bias in ((1, 0.0), (2, 0.0), (3, 20.0), (4, float("nan"))):
        save_model(base / str(version), bias=bias)
    return base


def verdicts(checks):
    return {check.name: check.passed for check in checks}


def test_the_same_weights_pass(versions):
    checks = gate(versions / "1", versions / "2", ROWS, GateLimits(**LIMITS))
    assert verdicts(checks) == {"score difference": True, "AUC drop": True, "latency ratio": True}
    difference, drop, ratio = checks
    assert (difference.value, drop.value) == (0.0, 0.0)
    assert ratio.value > 0


def test_other_scores_fail_unless_no_parity_is_asked(versions):
    checks = gate(versions / "1", versions / "3", ROWS, GateLimits(**LIMITS))
    assert not verdicts(checks)["score difference"]
    assert "row" in checks[0].note
    # The order of the rows is the same, and so is the AUC.
    free = gate(versions / "1", versions / "3", ROWS, GateLimits(tolerance=None, **LIMITS))
    assert verdicts(free) == {"AUC drop": True, "latency ratio": True}


def test_scores_that_are_no_numbers_fail(versions):
    checks = gate(versions / "1", versions / "4", ROWS, GateLimits(**LIMITS))
    assert not verdicts(checks)["scores not finite"]
    assert not verdicts(checks)["score difference"]
    assert not verdicts(checks)["AUC drop"]


def test_a_ratio_over_the_limit_fails_and_unlabelled_rows_have_no_auc(versions):
    limits = GateLimits(**{**LIMITS, "latency_ratio": 0.0})
    checks = gate(versions / "1", versions, ROWS.drop_columns("label"), limits)
    assert "AUC drop" not in verdicts(checks)
    assert not verdicts(checks)["latency ratio"]
    with pytest.raises(UserError, match="needs rows"):
        gate(versions / "1", versions / "2", ROWS.slice(0, 0), limits)


def test_a_gate_with_nothing_to_compare_does_not_open(versions):
    latest = "are one version, .*4, which differs from itself in nothing"
    with pytest.raises(UserError, match=latest):
        gate(versions, versions / "4", ROWS, GateLimits(**LIMITS))
    free = GateLimits(tolerance=None, **{**LIMITS, "positive_threshold": -1.0})
    with pytest.raises(UserError, match=r"labels lie between 0 and \d, positive from -1 on"):
        gate(versions / "1", versions / "3", ROWS, free)
    with pytest.raises(UserError, match="labels are none"):
        gate(versions / "1", versions / "3", ROWS.drop_columns("label"), free)


def test_the_command_exits_with_1_and_says_why(versions, tmp_path):
    rows, numbers = tmp_path / "rows.parquet", tmp_path / "gate.json"
    pq.write_table(ROWS, rows)
    arguments = ["gate", str(versions / "1"), str(versions / "3"), "--data", str(rows)]
    arguments += ["--latency-ratio", "1000", "--documents", "2", "--json", str(numbers)]
    failed = CliRunner().invoke(app, [*arguments, "--seconds", "0"])
    assert failed.exit_code == 1
    assert "score difference" in failed.output
    assert "FAILS" in failed.output
    found = json.loads(numbers.read_text())
    assert not found["passed"]
    passed = CliRunner().invoke(app, [*arguments, "--seconds", "0", "--tolerance", "inf"])
    assert passed.exit_code == 0
