"""What a search varies, and how its values come back into a config."""

from pathlib import Path
from typing import Any

import keras_tuner
import pytest
import yaml

from kdmatch.errors import UserError
from kdmatch.pipeline.config.loader import load_config, parse_config
from kdmatch.pipeline.config.run import Config
from kdmatch.search.space import hyperparameters, overrides, own_values, space_of, with_overrides

RAW: dict[str, Any] = {
    "name": "x",
    "data": {"train": "train.parquet"},
    "teacher": {"preset": "bert_2l_64"},
    "distillation": {"alpha": 0.5},
    "students": {
        "albert": {"preset": "albert_1l_64", "arguments": {"dropout": 0.0}},
        "textcnn": {"preset": "textcnn_64", "training": {"learning_rate": 0.5}},
    },
}


def config(**search: Any) -> Config:
    return parse_config({**RAW, "search": search}, "test")


def test_ranges_stand_beside_the_fields() -> None:
    names = {student: {p.name for p in space_of(config(), student)} for student in RAW["students"]}
    assert names["albert"] == {
        *(f"distillation.{name}" for name in ("alpha", "beta", "gamma", "scaling", "soft")),
        "distillation.temperature",
        *(f"training.{name}" for name in ("hard", "learning_rate", "warmup")),
        "arguments.dropout",
        "arguments.embedding_dim",
    }
    of_all = names["albert"] - {"arguments.embedding_dim"}
    assert names["textcnn"] == of_all | {"arguments.filters", "arguments.widths"}


@pytest.mark.parametrize(("teacher", "choices"), [("bert_2l_64", None), ("bert_4l_256", (64, 128))])
def test_an_embedding_is_not_wider_than_the_teacher_it_starts_from(
    teacher: str, choices: tuple[int, ...] | None
) -> None:
    albert = {**RAW["students"]["albert"], "start": "teacher"}
    raw = {**RAW, "teacher": {"preset": teacher}, "students": {"albert": albert}}
    space = {p.name: p.range for p in space_of(parse_config(raw, "test"), "albert")}
    found = space.get("arguments.embedding_dim")
    assert (found and found.choices) == choices


def test_the_search_begins_at_the_configs_own_values() -> None:
    start = {p.name: p.start for p in space_of(config(), "textcnn")}
    assert start["distillation.alpha"] == 0.5
    assert start["arguments.widths"] == "[1, 2, 3]"
    assert start["arguments.filters"] == 64
    assert start["training.learning_rate"] == 4e-3  # 0.5 lies above the range
    assert {p.name: p.start for p in space_of(config(), "albert")}["arguments.dropout"] == 0.0


def test_a_rate_may_be_written_as_a_whole_number() -> None:
    raw = {**RAW, "students": {"albert": {"preset": "albert_1l_64", "arguments": {"dropout": 0}}}}
    space = space_of(parse_config(raw, "test"), "albert")
    made = hyperparameters(space, "albert-0")
    dropout = next(hp for hp in made.space if hp.name == "arguments.dropout")
    assert (dropout.default, dropout.max_value) == (0.0, 0.3)
    assert 0 < dropout.random_sample(1) < 0.3


def test_yaml_replaces_adds_and_removes_ranges() -> None:
    space = {
        "distillation.alpha": {"low": 1, "high": 2},
        "training.batch_size": {"low": 16, "high": 64, "sampling": "log"},
        "training.hard": None,
        "arguments.widths": {"choices": [[1], [1, 2, 3]]},
    }
    found = {p.name: p for p in space_of(config(space=space), "textcnn")}
    assert found["distillation.alpha"].range.high == 2
    assert "training.hard" not in found
    assert found["arguments.widths"].labels == ["[1]", "[1, 2, 3]"]
    made = hyperparameters(list(found.values()), "textcnn-0")
    made_batch = next(hp for hp in made.space if hp.name == "training.batch_size")
    assert isinstance(made_batch.random_sample(1), int)
    assert "arguments.widths" not in {p.name for p in space_of(config(space=space), "albert")}


def test_temperature_counts_only_where_the_loss_has_one() -> None:
    space = space_of(config(), "albert")
    made = hyperparameters(space, "albert-0")
    assert "distillation.temperature" not in made.values  # soft begins as mse
    oracle = keras_tuner.oracles.RandomSearchOracle(
        keras_tuner.Objective("auc", "max"), hyperparameters=made, seed=1
    )
    seen = [oracle._random_values() for _ in range(40)]
    for values in seen:
        has = values["distillation.soft"] in ("ranknet", "listwise")
        assert ("distillation.temperature" in values) == has
        assert ("temperature" in overrides(space, values)["distillation"]) == has
    assert len({values["distillation.soft"] for values in seen}) == 4
    fixed = {"distillation.soft": None}
    assert "distillation.temperature" not in {
        p.name for p in space_of(config(space=fixed), "albert")
    }


def test_a_refit_uses_exactly_the_values_found(tmp_path: Path) -> None:
    space = space_of(config(), "textcnn")
    values = {
        "distillation.alpha": 0.123456789012345,
        "distillation.soft": "listwise",
        "distillation.temperature": 1.75,
        "training.learning_rate": 3.3e-4,
        "arguments.widths": "[2, 3, 4]",
        "arguments.filters": 96,
    }
    keys = {"students": {"textcnn": overrides(space, values)}}
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RAW), encoding="utf-8")
    refit = load_config(tmp_path / "config.yaml", include=[tmp_path / "best.yaml"])
    losses = refit.distillation_of("textcnn")
    assert (losses.alpha, losses.soft, losses.temperature) == (0.123456789012345, "listwise", 1.75)
    assert losses.gamma == 1.0
    assert refit.student("textcnn").training.learning_rate == 3.3e-4
    arguments = refit.student("textcnn").arguments
    assert (arguments["widths"], arguments["filters"]) == ([2, 3, 4], 96)
    assert refit.distillation_of("albert").alpha == 0.5
    assert refit == with_overrides(
        parse_config(RAW, "test", recipes=True), "textcnn", keys["students"]["textcnn"]
    )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"distillation.alhpa": {"low": 0, "high": 1}}, "did you mean 'distillation.alpha'"),
        ({"zzz": {"low": 0, "high": 1}}, "unknown parameter 'zzz'; known: arguments.dropout"),
        ({"training.steps": {"low": 1, "high": 2}}, "training.steps is not searched; set search.s"),
        (
            {"training.batch_size": {"low": 16, "high": 64.5}},
            "training.batch_size is a whole number, 64; 64.5 cannot end its range",
        ),
        ({"training.hard": {"low": 0, "high": 1}}, "training.hard is 'both', not a number"),
        (
            {"training.hard": {"choices": ["hing", "both"]}},
            r"search.space: training.hard cannot be 'hing': Input should be 'hinge', 'pointwise'",
        ),
        (
            {"training.warmup": {"low": 0.0, "high": 1.5}},
            "search.space: training.warmup cannot be 1.5: Input should be less than 1",
        ),
    ],
)
def test_a_space_that_cannot_be_is_one_line(space: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        space_of(config(space=space), "albert")
    assert "\n" not in str(caught.value)


def test_the_first_trial_is_the_nearest_to_the_config_that_the_ranges_have() -> None:
    raw = config().model_dump(mode="json")
    raw["students"]["textcnn"]["arguments"] = {"filters": 250, "widths": [1, 2, 3]}
    raw["distillation"]["gamma"] = 0.0
    found = {p.name: p for p in space_of(parse_config(raw, "test"), "textcnn")}
    assert found["arguments.filters"].start == max(found["arguments.filters"].labels)
    assert found["distillation.gamma"].start == 0.05
    moved = {name for name, parameter in found.items() if parameter.is_moved}
    assert moved == {"arguments.filters", "distillation.gamma", "training.learning_rate"}
    own = own_values(list(found.values()))
    assert own["distillation"]["gamma"] == 0.0
    assert own["arguments"]["filters"] == 250


@pytest.mark.parametrize(
    ("choices", "labels", "start"),
    [
        ([0.5, 1, 2], [0.5, 1.0, 2.0], 1.0),  # YAML's 1 among rates
        ([0.25, 0], [0.25, 0.0], 0.25),
    ],
)
def test_choices_of_whole_and_broken_numbers_are_numbers(
    choices: list[Any], labels: list[float], start: float
) -> None:
    (gamma,) = [
        p
        for p in space_of(config(space={"distillation.gamma": {"choices": choices}}), "albert")
        if p.name == "distillation.gamma"
    ]
    assert (gamma.labels, gamma.start, gamma.is_moved) == (labels, start, start != 1.0)


def test_what_the_config_leaves_open_can_have_choices() -> None:
    space = {"arguments.intermediate_dim": {"choices": [256, 512]}}
    found = {p.name: p for p in space_of(config(space=space), "albert")}
    inside = found["arguments.intermediate_dim"]
    assert (inside.current, inside.start, inside.is_moved) == (None, 256, True)


def test_nothing_left_to_search() -> None:
    names = [p.name for p in space_of(config(), "albert")]
    with pytest.raises(UserError, match="nothing is left to search for albert"):
        space_of(config(space=dict.fromkeys(names)), "albert")
